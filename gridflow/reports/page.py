"""`gridflow.report`: results, verdicts, cases and claims in, one page out.

The page is complete: figures are drawn by plotly, which stands in the page, formulas are MathML. A policy in its head forbids
every request; text from files is escaped.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gridflow
from gridflow.case.case import Case
from gridflow.errors import InputError
from gridflow.files import check_new_file
from gridflow.output.kept import replaced_by
from gridflow.reports.sections import Section, claims_sections, section_of

if TYPE_CHECKING:
    import xarray

    Source = str | Path | Case | xarray.Dataset


def report(
    sources: "Sequence[Source] | Source",
    output: str | Path | None = None,
    *,
    title: str = "",
    validate: bool = False,
    claims: str | Path | None = None,
    overwrite: bool = False,
) -> str:
    """A page in HTML about results, written to the file `output` (.html) if given.

    Parameters
    ----------
    sources : one or more of: datasets of `gridflow.solve` and `gridflow.validate`, their .nc files, cases, names of shipped cases
        and .toml files; cases are solved first
    validate : add the verdict of every case among the sources (minutes)
    claims : a folder of claims of the reproductions (`python -m validation -o DIR`), shown after the results
    overwrite : replace an existing file

    >>> case = gridflow.load_case("ornstein-uhlenbeck").replace({"space.x.cells": 32, "time.stop": 0.1, "time.save": 2})
    >>> page = gridflow.report(gridflow.solve(case), "page.html")
    >>> "completed" in page, page.count("data-figure=")
    (True, 3)

    Raises InputError for a file that is not of gridflow, or a package that is missing (extra `report`).
    """
    target = None if output is None else Path(output)
    if target is not None:
        check_new_file(target, {".html"}, overwrite)
    environment, plotly = libraries()
    given = [sources] if isinstance(sources, str | Path | Case) or not isinstance(sources, Sequence) else list(sources)
    sections = [section for source in given for section in sections_of(source, validate)]
    sections += [] if claims is None else claims_sections(Path(claims))
    if not sections:
        raise InputError("a report about nothing", "results, cases or claims", "name at least one")
    page = page_of(
        sections, title or (sections[0].title if len(sections) == 1 else f"{len(sections)} results"), environment, plotly
    )
    if target is not None:
        with replaced_by(target) as part:
            part.write_text(page, encoding="utf-8")
    return page


def libraries() -> tuple[Any, str]:
    """(jinja2's environment, plotly's script). Raises InputError where the extra is not installed."""
    try:
        import jinja2
        import latex2mathml.converter  # noqa: F401  (used by gridflow.reports.equation)
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        fix = "pip install 'gridflow[report]'"
        raise InputError(f"a report without the package {error.name}", "plotly, jinja2 and latex2mathml", fix) from None
    return jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True), get_plotlyjs()


def sections_of(source: Any, validate: bool) -> list[Section]:
    """The sections of one source."""
    import xarray

    from gridflow.case.case import load_case
    from gridflow.files import loaded, open_contents, open_netcdf
    from gridflow.output.reader import read_result

    if isinstance(source, xarray.Dataset):
        return [section_of(source, "the dataset")]
    if isinstance(source, str | Path) and Path(source).suffix == ".nc":
        path = Path(source)
        with open_contents(path, "report") as contents:
            judged = "verdict" in contents.attrs
        if not judged:
            return [section_of(read_result(path, "report"), repr(path.name), path)]
        with open_netcdf(path, "report") as file:
            loaded(file, [str(name) for name in file.variables], path, "report")
        return [section_of(file, repr(path.name), path)]
    case = source if isinstance(source, Case) else load_case(source)
    found = [section_of(gridflow.solve(case), case.name)]
    return [*found, section_of(gridflow.validate(case), case.name)] if validate else found


def page_of(sections: list[Section], title: str, environment: Any, plotly: str) -> str:
    """The page; data of figures stand in it once, and are drawn when they come into view."""
    from markupsafe import Markup

    data, shown = {}, []
    for number, section in enumerate(sections):
        figures = []
        for k, figure in enumerate(section.drawn):
            name = f"f{number}-{k}"
            data[name] = Markup(figure.to_json().replace("<", "\\u003c"))
            figures.append({"id": name, "height": int(figure.layout.height)})
        formulas = [Markup(text) for text in section.equation]
        shown.append({**vars(section), "good": section.good, "equation": formulas, "figures": figures})
    made = datetime.now(UTC).strftime("%Y-%m-%d")
    template = environment.get_template("page.html")
    script = Markup(plotly.replace("</script", "<\\/script")) if data else ""
    return template.render(title=title, sections=shown, data=data, plotly=script, version=gridflow.__version__, made=made)
