"""What a page says about one result, verdict or set of claims, as plain text and figures."""

import base64
import json
import math
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray

from gridflow.case.text import parse
from gridflow.errors import InputError, require
from gridflow.reports.equation import equation
from gridflow.reports.figures import density_figures, fit_figure, record_figures, verdict_figure
from gridflow.verdict.table import lines_below, rows_of

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

GOOD = ("completed", "steady", "pass")
PICTURE_BYTES_MAX = 2**23


@dataclass
class Verdict:
    """A table and further lines."""

    head: list[str]
    rows: list[list[str]]
    lines: list[str]


@dataclass
class Section:
    """One result on the page. certificates, provenance : (name, value); equation : MathML; case : its text in TOML."""

    title: str
    source: str
    state: str
    warnings: list[str] = field(default_factory=list)
    certificates: list[tuple[str, str]] = field(default_factory=list)
    verdict: Verdict | None = None
    description: str = ""
    equation: list[str] = field(default_factory=list)
    drawn: "list[Figure]" = field(default_factory=list)
    claims: list[dict[str, str]] = field(default_factory=list)
    pictures: list[dict[str, str]] = field(default_factory=list)
    provenance: list[tuple[str, str]] = field(default_factory=list)
    case: str = ""
    name: str = "case"
    command: str = ""

    @property
    def good(self) -> bool:
        """Whether the state is a good one."""
        return self.state.startswith(GOOD)


def section_of(dataset: xarray.Dataset, what: str, path: Path | None = None) -> Section:
    """The section of a result or of a verdict; path : of its file. Raises InputError for another dataset."""
    if "verdict" in dataset.attrs and "quantity" in dataset.dims:
        return verdict_section(dataset, path)
    known = {"density", "energy", "cell_volume"} <= set(map(str, dataset.variables)) and dataset.sizes.get("time", 0) > 0
    require(
        known, f"{what} lacks the variables of a result", "a file written by gridflow solve or validate", "solve a case first"
    )
    return result_section(dataset, path)


def result_section(dataset: xarray.Dataset, path: Path | None) -> Section:
    """Status, certificates and warnings, equation, densities, energy, fit and provenance of a result."""
    section = begun(dataset, str(dataset.attrs.get("status", "unknown")), "solve")
    a, last = dataset.attrs, dataset.isel(time=-1)
    volume = dataset["cell_volume"]
    mass = f"largest relative error in a step {number(a.get('mass_error_max'))}"
    if "mass_free" in a and "mass" in dataset:
        mass = f"{number(dataset['mass'][0])} → {number(last['mass'])} (the reaction changes it)"
    falls = a.get("energy_decreases", "not stated")
    section.certificates = [
        ("mass", mass),
        ("energy", f"{number(dataset['energy'][0])} → {number(last['energy'])}; decrease {falls}"),
        ("largest rise of the energy in a step", number(a.get("energy_rise_max"))),
        ("smallest density", number(last.get("density_min"))),
        ("mass in the outermost cells", number(last.get("boundary_mass"))),
    ]
    for name in ("error_w1", "error_l1", "gibbs_distance", "free_energy_gap"):
        if name in dataset:
            section.certificates.append((str(dataset[name].attrs.get("long_name", name)), number(last[name])))
    section.drawn = [*density_figures(dataset), *record_figures(dataset)]
    if (fit := fit_figure(dataset)) is not None:
        section.drawn.append(fit)
    sizes = " × ".join(f"{name} {size}" for name, size in zip(volume.dims, volume.shape, strict=True))
    cost = f"{float(a['wall_seconds']):.2g} s, {int(last['steps'])} steps" if "wall_seconds" in a and "steps" in dataset else ""
    section.provenance += [("cells", sizes), ("cost", cost), *of_file(path)]
    return section


def verdict_section(dataset: xarray.Dataset, path: Path | None) -> Section:
    """The table of a verdict, with its lines and a figure."""
    section = begun(dataset, str(dataset.attrs["verdict"]), "validate")
    head, *rows = rows_of(dataset)
    section.verdict = Verdict(head, rows, lines_below(dataset))
    section.drawn = [verdict_figure(dataset)]
    section.provenance += of_file(path)
    return section


def begun(dataset: xarray.Dataset, state: str, command: str) -> Section:
    """What results and verdicts share."""
    a = {key: str(value) for key, value in dataset.attrs.items()}
    text, name = a.get("case", ""), a.get("case_name", "case")
    tables = parse(text, "the case of a dataset")
    words = ["gridflow", command, f"{name}.toml", *(["-o", f"{name}.nc"] if command == "solve" else [])]
    return Section(
        title=a.get("title", name),
        source="" if a.get("source", "user") == "user" else f"Source: {a['source']}",
        state=state,
        warnings=a.get("warnings", "").splitlines(),
        description=str(tables.get("description", "")).strip(),
        equation=equation(tables),
        provenance=[(key, a[key]) for key in ("case_name", "gridflow_version", "scheme", "reductions", "history") if key in a],
        case=text,
        name=name,
        command=shlex.join(words),
    )


def of_file(path: Path | None) -> list[tuple[str, str]]:
    """Name and size of a file."""
    return [] if path is None else [("file", f"{path.name}, {path.stat().st_size / 2**20:.2g} MiB")]


def number(value: Any) -> str:
    """A number with four digits; a dash where there is none."""
    return "–" if value is None else f"{float(value):.4g}"


def claims_sections(folder: Path) -> list[Section]:
    """One section per module of reproductions: the JSON files that `python -m validation` writes, and the pictures beside them.

    Raises InputError for a folder without claims.
    """
    files = sorted(folder.glob("*.json"))
    fix = "make some: python -m validation -o DIR"
    require(bool(files), f"no claims in the folder {folder.name!r}", "a folder with the JSON files of reproductions", fix)
    sections = []
    for file in files:
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
            rows = [claim_row(row) for row in found["claims"]]
            names = sorted({str(p) for row in found["claims"] for p in row["pictures"]})
            title = str(found["module"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{file.name!r} holds no claims ({error})", "a JSON file of reproductions", fix) from None
        shown = sum(row["verdict"] == "shown" for row in rows)
        places = [folder / Path(n).name for n in names] + [folder.parent / "figures" / Path(n).name for n in names]
        pictures = {p.name: {"name": p.name, "data": data_address(p)} for p in reversed(places) if is_picture(p)}
        state = f"pass: {shown} of {len(rows)} claims shown" if shown == len(rows) else f"{shown} of {len(rows)} claims shown"
        sections.append(Section(title, "", state, claims=rows, pictures=list(pictures.values())))
    return sections


def claim_row(row: dict[str, Any]) -> dict[str, str]:
    """A claim as text."""
    value = row["value"]
    shown = "not a number" if value is None else f"{float(value):.3g}"
    if row.get("band") is not None:
        low, high = (end if given is None else given for given, end in zip(row["band"], (-math.inf, math.inf), strict=True))
        shown += f" (band {low:.3g} … {high:.3g})"
    return {key: str(row.get(key, "")) for key in ("says", "source", "finding", "quantity", "verdict")} | {"value": shown}


def is_picture(path: Path) -> bool:
    """Whether a file is a PNG that a page can hold."""
    if not path.is_file() or path.stat().st_size > PICTURE_BYTES_MAX:
        return False
    with path.open("rb") as file:
        return file.read(8) == b"\x89PNG\r\n\x1a\n"


def data_address(path: Path) -> str:
    """A picture as an address that holds it."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
