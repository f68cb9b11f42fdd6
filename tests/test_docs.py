"""The documentation in `gridflow/docs`: what its pages show is run, and the site builds."""

import io
import re
import shlex
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

import gridflow
from gridflow.cli import COMMANDS, main
from gridflow.docs.pages_from_sources import SOURCES, on_page_markdown

DOCS = Path(gridflow.__file__).parent / "docs"
PAGES = sorted((DOCS / "pages").glob("*.md"))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NAMED = re.compile(r"Save this .*as\s`(\S+\.toml)`")


def text_of(page):
    return page.read_text(encoding="utf-8")


def run_command(line):
    """A line of a shell block; a comment `# exit code N` says what it returns where that is not 0."""
    words, _, comment = line.partition("# exit code ")
    name, *arguments = shlex.split(words, comments=True)
    assert name == "gridflow"
    with redirect_stdout(io.StringIO()):
        assert main(arguments) == int(comment.split()[0] if comment else 0), line


@pytest.mark.parametrize("page", [p for p in PAGES if "```python" in text_of(p)], ids=lambda p: p.stem)
def test_what_a_page_shows_runs(page, tmp_path, monkeypatch):
    """Python, commands and case files in their order; numbers in the text are asserted in the blocks."""
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "page"}
    for block in BLOCK.finditer(text_of(page)):
        language, code = block.groups()
        if language == "python":
            above = text_of(page)[: block.start(2)].count("\n")
            exec(compile("\n" * above + code, page, "exec"), names)  # an error shows the line of the page
        elif language == "toml":
            before = NAMED.findall(text_of(page)[: block.start()])
            Path(before[-1]).write_text(code, encoding="utf-8")
        elif language == "sh":
            for line in code.strip().splitlines():
                run_command(line)


def test_every_page_is_in_the_navigation():
    """And no other page."""
    nav = (DOCS / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:\n")[1].split("\n\n")[0]
    assert sorted(re.findall(r": (\S+\.md)$", nav, re.MULTILINE)) == [p.name for p in PAGES]


def test_pages_are_made_of_what_they_name():
    marks = {mark for page in PAGES for mark in re.findall(r"<!-- from: (\w+) -->", text_of(page))}
    assert marks == set(SOURCES)
    made = on_page_markdown("<!-- from: commands -->")
    assert [n for n in COMMANDS if f"\n## gridflow {n}\n" not in made] == []
    assert "--particles" in made


def test_every_public_name_is_in_the_api():
    text = text_of(DOCS / "pages" / "api.md")
    wanted = [f"::: gridflow.{module}.{name}\n" for name, module in gridflow._HOME.items()]
    assert [w for w in wanted if w not in text] == []


def test_docstrings_become_markdown():
    pytest.importorskip("griffe", reason="needs the extra docs")
    from gridflow.docs.docstrings_as_markdown import as_markdown

    text = "Mean of a cloud.\n\nn, m : sizes;\n    positive\n\n>>> mean(1)\n1\n\nRaises\n------\nInputError"
    wanted = "Mean of a cloud.\n\n* `n, m`: sizes;\n    positive\n\n\n```pycon\n>>> mean(1)\n1\n```\n\n**Raises**\n\nInputError"
    assert as_markdown(text) == wanted
    assert as_markdown(">>> 1\n1") == "\n```pycon\n>>> 1\n1\n```"


@pytest.mark.slow
def test_the_site_builds(tmp_path):
    """Strictly: a page that is missing, a link that leads nowhere and a name that is not found are errors."""
    pytest.importorskip("mkdocs", reason="needs the extra docs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(DOCS / "mkdocs.yml"), "-d", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {p.stem for p in PAGES} <= {p.stem for p in tmp_path.glob("*.html")}
    assert "gridflow.sweep" in (tmp_path / "api.html").read_text(encoding="utf-8")
