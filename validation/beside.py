"""Six figures of the sources beside ours, as the README shows them: what the source shows in words, our picture, the verdicts.

`python -m validation --record` writes them between two marks into README.md; a test compares.
"""

import textwrap
from dataclasses import dataclass
from pathlib import Path

from validation.claim import SHOWN
from validation.table import interval, number, recorded

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- six figures: written by python -m validation --record -->", "<!-- end of the six figures -->"


@dataclass(frozen=True)
class Beside:
    """item : of `sources.SOURCES`; shows : what its figure shows, in our words; claims : of one module, the first of the item"""

    item: str
    called: str
    shows: str
    picture: str
    claims: tuple[str, ...]


BESIDE = (
    Beside(
        "S1 Fig. 1",
        "S1 Fig. 1",
        "speeds of neurons by direction at iteration 500, ten times larger with batch normalisation (above) than without,"
        " and their directions up to iteration 8000",
        "bn-speed.png",
        ("bn-speed-ratio-mean", "bn-speed-ratio-unit", "bn-speed-gathered", "bn-speed-significant"),
    ),
    Beside(
        "S1 Fig. 2",
        "S1 Fig. 2",
        "directions of neurons up to iteration 10000, of which half start ten times as long: the short ones arrive first",
        "bn-lengths.png",
        ("bn-lengths-time", "bn-lengths-converge"),
    ),
    Beside(
        "S2 §1.1",
        "S2 §1.1",
        "energy and distance of proximal points for γ = 10, which are the same for the Frobenius and the Wasserstein"
        " distance, and the neurons at the start and at the end, with a triangle that does not move",
        "relu-prox.png",
        ("relu-prox-energies", "relu-prox-distances", "relu-prox-idle"),
    ),
    Beside(
        "S3 Fig. 1",
        "S3 Fig. 1",
        "a drawing of three models: one residual network, an ensemble of independent ones, and one with many neurons in"
        " every layer. We train all three",
        "resnet-models.png",
        (
            "resnet-vanilla-is-ensemble-of-one",
            "resnet-vanilla-is-wide-of-one",
            "resnet-ensemble-mean-field",
            "resnet-wide-mean-field",
        ),
    ),
    Beside(
        "S4 noise injection",
        "S4 (animation)",
        "particles that flow to a Gaussian target: most collapse on its mean and some escape; with injected noise they reach it",
        "mmd-noise.png",
        ("noise-reaches-loss", "diffusion-biased", "noise-delays"),
    ),
    Beside(
        "S4 student-teacher",
        "S4 (student and teacher)",
        "the loss of a network that learns another one, by SGD, with injected noise, with diffusion, and by the negative Sobolev"
        " distance (KSD)",
        "mmd-student-teacher.png",
        ("student-teacher-sgd", "student-teacher-levels", "student-teacher-ksd"),
    ),
)


def six_figures() -> str:
    """The part of the README between the marks, in Markdown."""
    rows = {row["name"]: (name, part["mode"], row) for name, part in recorded().items() for row in part["claims"]}
    parts = []
    for beside in BESIDE:
        module, mode, _ = rows[beside.claims[0]]
        command = f"python -m validation {module}{' --full' if mode == 'full' else ''}"
        lines = [filled(f"**{beside.called}** shows {beside.shows}. Ours, by `{command}`:"), ""]
        lines += [filled(f"* {verdict(rows[claim][2])}", "  ") for claim in beside.claims]
        parts.append("\n".join([*lines, "", f"![Ours for {beside.called}](validation/figures/{beside.picture})"]))
    return "\n\n".join(parts)


def verdict(row: dict) -> str:
    """A claim, its verdict, the value in its band, and where it is not shown what was found."""
    finding = f" {row['finding']}" if row["finding"] and row["verdict"] != SHOWN else ""
    return f"{row['says']} **{row['verdict'].capitalize()}**: {number(row['value'])}{interval(row['band'])}.{finding}"


def filled(text: str, indent: str = "") -> str:
    return textwrap.fill(text, 128, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def with_six_figures(text: str) -> str:
    """A README with the part between the marks written anew."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n\n{six_figures()}\n\n{END}{rest.split(END)[1]}"
