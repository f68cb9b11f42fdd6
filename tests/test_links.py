"""Links in what people read: files and headings that they lead to are there; addresses elsewhere are well-formed (no network)."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import gridflow
from gridflow.docs.pages_from_sources import VALIDATION, on_page_markdown

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "gridflow" / "docs" / "pages").glob("*.md"))
READ_HERE = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "validation" / "README.md"]
CODE = re.compile(r"^( *)```.*?^\1```$|^(?: {4}.*\n)+|`+[^`\n]+`+", re.DOTALL | re.MULTILINE)
LINKS = (
    re.compile(r"\]\(\s*<?([^)\s>]+)"),  # [text](target "title") and ![picture](target)
    re.compile(r"^\[[^\]]+\]:\s*<?(\S+?)>?(?:\s|$)", re.MULTILINE),  # [text]: target
    re.compile(r"\b(?:href|src)=[\"']([^\"']*)[\"']"),
    re.compile(r"<(https?://[^>]*)>"),
)
ADDRESS = re.compile(r"https?://[^\s<>\"'`)\]]+")
PATH = re.compile(r"`((?:gridflow|validation|cases|tests)/[\w./-]+\.(?:py|md|csv|json|toml|nc))`")
DOI = re.compile(r"\bdoi:\s*(\S+)")


def prose(text):
    """The text without its code."""
    return CODE.sub("", text)


def targets(text):
    """What its links lead to."""
    return [found for link in LINKS for found in link.findall(prose(text))]


def headings(text, slug):
    """Anchors of the headings; one that comes again is numbered."""
    without_blocks = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    found: dict[str, int] = {}
    for heading in re.findall(r"^#+ (.*)$", without_blocks, re.MULTILINE):
        found[slug(heading)] = found.get(slug(heading), 0) + 1
    return {name if k == 0 else f"{name}-{k}" for name, times in found.items() for k in range(times)}


def slug_github(heading):
    """As GitHub makes it: lower case, without punctuation, a hyphen for every space."""
    return re.sub(r"[^\w\- ]", "", heading.lower().replace("`", "")).replace(" ", "-")


def slug_site(heading):
    """As the table of contents of mkdocs makes it: ASCII alone, hyphens for runs of spaces."""
    ascii_only = heading.replace("`", "").encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", ascii_only).strip().lower())


def wrong_address(target):
    """Why an address elsewhere is malformed; nothing where it is not."""
    parts = urlsplit(target)
    if parts.scheme != "https":
        return "is not https"
    if not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", parts.netloc):
        return "has no host"
    return "ends in punctuation" if re.search(r"[.,;:]$", target) else ""


def wrong_target(target, text, page, folder, slug):
    """Why a link of a page leads nowhere; nothing where it does not."""
    if re.match(r"[a-z]+:", target):
        return wrong_address(target)
    name, _, anchor = unquote(target).partition("#")
    file = (folder / name).resolve() if name else page
    if not file.exists() or not file.is_relative_to(ROOT):
        return "is not there"
    if not anchor:
        return ""
    there = text if not name else file.read_text(encoding="utf-8")
    return "" if anchor in headings(there, slug) else "has no such heading"


@pytest.mark.parametrize("page", READ_HERE, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_of_what_is_read_in_the_repository(page):
    text = page.read_text(encoding="utf-8")
    found = {t: wrong_target(t, text, page, page.parent, slug_github) for t in targets(text)}
    assert {t: why for t, why in found.items() if why} == {}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_links_of_the_site(page):
    """Pictures of the site are those of validation/figures."""
    text = on_page_markdown(page.read_text(encoding="utf-8"))
    wrong = {}
    for target in targets(text):
        folder = VALIDATION if target.startswith("figures/") else page.parent
        wrong[target] = wrong_target(target, text, page, folder, slug_site)
    assert {t: why for t, why in wrong.items() if why} == {}


@pytest.mark.parametrize("page", [*READ_HERE, *PAGES], ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_addresses_that_are_named(page):
    """Files of the repository, in code too, are there; identifiers of papers have their two parts."""
    text = page.read_text(encoding="utf-8")
    assert [name for name in PATH.findall(text) if not (ROOT / name).exists()] == []
    assert [a for a in ADDRESS.findall(prose(text)) if wrong_address(a.rstrip(".,;:"))] == []
    assert [d for d in DOI.findall(text) if not re.match(r"10\.\d{4,9}/\S+", d)] == []


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("[a](no-such-file.md)", "is not there"),
        ("![a](validation/figures/none.png)", "is not there"),
        ("[a](#no-such-heading)", "has no such heading"),
        ("[a](README.md#no-such-heading)", "has no such heading"),
        ("[a][b]\n\n[b]: gone.md", "is not there"),
        ('<img src="gone.png">', "is not there"),
        ("[a](/etc/hosts)", "is not there"),
        ("[a](http://example.org)", "is not https"),
        ("<https://example>", "has no host"),
        ("[a](https://example.org/x.)", "ends in punctuation"),
        ("[a](#a-title-α-of-x)", ""),
        ("[a](https://example.org/x)", ""),
        ("`[a](gone.md)`", None),
    ],
)
def test_a_link_that_leads_nowhere_is_found(line, why):
    text = f"# A title: α of `x`\n\n{line}\n"
    found = [wrong_target(t, text, ROOT / "README.md", ROOT, slug_github) for t in targets(text)]
    assert found == ([] if why is None else [why])


def test_the_citation_is_of_this_version():
    """The entry in the README, the package and its metadata."""
    entry = (ROOT / "README.md").read_text(encoding="utf-8").split("## How to cite")[1].split("\n## ")[0]
    fields = dict(re.findall(r"^\s*(\w+) = \{+(.*?)\}+,?$", entry, re.MULTILINE))
    metadata = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert fields["version"] == gridflow.__version__
    assert f'description = "{fields["title"].removeprefix("gridflow: ")}"' in metadata
    assert f'authors = [{{ name = "{fields["author"]}" }}]' in metadata
    assert f'license = "{fields["license"]}"' in metadata
