"""Pictures and animations of a result. They need only the dataset, in memory or opened from a file."""

import textwrap
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray

from gridflow.errors import require
from gridflow.files import check_new_file
from gridflow.output.animation import animate
from gridflow.output.globe import draw_surface, surface_blocks
from gridflow.output.numbers import Draw, number_panels
from gridflow.output.panels import Panel, Sheet, draw_curves, draw_directions, draw_maps, proportion
from gridflow.output.projections import Block, blocks, direction_panels, label_names
from gridflow.output.reader import PICTURE, read_result
from gridflow.output.reference import reference_of
from gridflow.output.scales import telling_saves
from gridflow.output.style import finish, number, settings, style_of, symbol

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOVIES = {".gif", ".mp4"}
PICTURES = {".png", ".pdf", ".svg"}
Row = tuple[float, Callable[[Any], object]]
"""Height in inches of a row of panels, and what draws it in its part of the figure."""
Piece = tuple[int, Callable[[Any], object]]
"""Number of small panels, and what draws them in their part of a row."""
ACROSS = 4
"""Small panels side by side."""


def plot(
    result: xarray.Dataset | str | Path, output: str | Path | None = None, overwrite: bool = False, size: str = "screen"
) -> "Figure":
    """Density at several times with its target, marginals, energy, certificates and fit; written to `output` if given.

    `output` ends in .png, .pdf or .svg for a picture, in .gif or .mp4 for an animation over the saved times. `size` is "screen",
    or "paper" for one row of panels as wide as a column, 3.4 inches, without a title.

    >>> case = gridflow.load_case("ornstein-uhlenbeck").replace({"space.x.cells": 64, "time.save": 3})
    >>> figure = gridflow.plot(gridflow.solve(case), "picture.png")
    >>> figure.axes[0].get_xlabel()
    '$x$'

    Raises InputError for a file that is not a gridflow result, an unknown ending or size, or an output that exists.
    """
    from matplotlib import rc_context

    style = style_of(size)
    target = None if output is None else Path(output)
    if target is not None:
        check_new_file(target, PICTURES | MOVIES, overwrite)
        still = target.suffix in PICTURES or size == "screen"
        require(still, f"an animation for the size {size!r}", "pictures", f"remove the size, or write {target.stem}.pdf")
    dataset = result if isinstance(result, xarray.Dataset) else read_result(Path(result), "plot", PICTURE)
    joined = [str(d) for d in dataset["density"].dims if d != "time" and d not in dataset["cell_volume"].dims]
    require(not joined, f"a picture of runs along {', '.join(joined)}", "one run", "choose one with ds.isel")
    if target is not None and target.suffix in MOVIES:
        return animate(dataset, target)
    figure = picture(Sheet(dataset, reference_of(dataset), style))
    if target is not None:
        with rc_context({"pdf.fonttype": 42}):  # letters as letters, which journals ask for
            figure.savefig(target, dpi=style.dpi)
    return figure


def picture(sheet: Sheet) -> "Figure":
    """All rows of a figure under its title; at the size of a paper the first one."""
    from matplotlib import rc_context
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    from gridflow.output.figures import Picture

    style = sheet.style
    with rc_context(settings(style)):
        rows = all_rows(sheet) if style.heading else [paper_row(sheet)]
        lines = heading(sheet) if style.heading else []
        above = (style.text * 1.35 * len(lines) + 4) / 72 if lines else 0.0
        height = above + sum(row[0] for row in rows)
        layout = ConstrainedLayoutEngine(rect=(0.0, 0.0, 1.0, 1 - above / height))
        figure = Picture(figsize=(style.width, height), layout=layout, facecolor="white")
        for k, (line, weight) in enumerate(lines):
            top = 1 - (style.text * 1.35 * (k + 0.2) + 3) / 72 / height
            figure.text(0.01, top, line, va="top", weight=weight, parse_math=False)
        parts: Any = figure.subfigures(len(rows), 1, height_ratios=[row[0] for row in rows], squeeze=False)[:, 0]
        for part, (_, draw) in zip(parts, rows, strict=True):
            draw(part)
        finish(figure, style)
        layout.execute(figure)  # drawing does so again: axes with a fixed proportion need it twice
    return figure


def heading(sheet: Sheet) -> list[tuple[str, str]]:
    """Lines over a figure with their weights: the title, and what makes the result doubtful."""
    attrs, reference = sheet.dataset.attrs, sheet.reference
    source = str(attrs.get("source", "user"))
    title = str(attrs.get("title", "")) + (f" ({source})" if source not in ("", "user") else "")
    status = str(attrs.get("status", "completed"))
    notes = [
        *([] if status in ("completed", "steady") else [status]),
        *str(attrs.get("warnings", "")).splitlines(),
        *reference.notes,
    ]
    wide = int(sheet.style.width * 72 / sheet.style.text * 1.6)
    note = (
        textwrap.shorten(notes[0], wide - 12, placeholder=" …") + (f" (+{len(notes) - 1})" if notes[1:] else "") if notes else ""
    )
    return [*((line, "bold") for line in textwrap.wrap(title, wide)), *([(f"Note: {note}", "normal")] if note else [])]


def all_rows(sheet: Sheet) -> list[Row]:
    """Surfaces, maps and curves from one side to the other; then marginals, directions of neurons and numbers over time."""
    dataset, style = sheet.dataset, sheet.style
    maps, curves = blocks(dataset, sheet.reference.order, sheet.reference.views)
    saves, many = telling_saves(dataset, style.frames), telling_saves(dataset, style.curves)
    rows = [surface_row(sheet, block, saves) for block in surface_blocks(dataset, label_names(dataset))]
    rows += [map_row(sheet, block, saves) for block in maps]
    drawn = [(len(block.parts), partial(draw_curves, sheet=sheet, block=block, saves=many, ticks=3)) for block in curves]
    if not rows:
        rows, drawn = [(3.2, partial(draw, ticks=8)) for _, draw in drawn], []
    pieces: list[Piece] = [*drawn]
    if turning := direction_panels(dataset):
        pieces.append((len(turning), partial(draw_directions, sheet=sheet, panels=turning)))
    pieces += [(1, partial(draw_alone, draw=draw)) for draw in number_panels(dataset, sheet.reference.temperature)]
    return rows + [(2.1, partial(draw_pieces, pieces=line)) for line in packed(pieces)]


def packed(pieces: list[Piece]) -> list[list[Piece]]:
    """Pieces in lines of four panels, as far as they fit."""
    lines: list[list[Piece]] = []
    for piece in pieces:
        if not lines or sum(width for width, _ in lines[-1]) + piece[0] > ACROSS:
            lines.append([])
        lines[-1].append(piece)
    return lines


def draw_pieces(figure: Any, pieces: list[Piece]) -> None:
    """Pieces side by side; at least two panels would have room."""
    ratios = [width for width, _ in pieces]
    ratios += [2 - sum(ratios)] if sum(ratios) < 2 else []
    for part, (_, draw) in zip(figure.subfigures(1, len(ratios), width_ratios=ratios, squeeze=False)[0], pieces, strict=False):
        draw(part)


def draw_alone(figure: Any, draw: Draw) -> None:
    """A single panel."""
    draw(figure.subplots())


def surface_row(sheet: Sheet, block: Block, saves: list[int]) -> Row:
    """The first and the last save on a surface."""
    ends = [saves[0], saves[-1]]
    return 1.35 * len(block.parts) + 0.3, partial(draw_surface, sheet=sheet, block=block, saves=ends, scaled=ends)


def map_row(sheet: Sheet, block: Block, saves: list[int]) -> Row:
    """Maps of one pair of factors: saves from left to right, labels from above."""
    panels = [[Panel(part, save, sheet.time(save) if k == 0 else "") for save in saves] for k, part in enumerate(block.parts)]
    shape = proportion(sheet, block, saves)
    return map_height(sheet, shape, len(panels), len(saves)), partial(
        draw_maps, sheet=sheet, what=block.what, rows=panels, saves=saves
    )


def map_height(sheet: Sheet, shape: float, rows: int, columns: float, words: float = 0.0) -> float:
    """Height in inches of maps with words around them; shape : height of a map over its width; words : more lines of text."""
    line, reference = sheet.style.line, sheet.reference
    wide = (sheet.style.width - 10.5 * line) / columns - 0.07
    legend = 2.5 if reference.landmarks or reference.solution is not None else 0.0
    return rows * (wide * shape + 0.1) + (5.0 + legend + words) * line


def paper_row(sheet: Sheet) -> Row:
    """One row as wide as a paper's column: a single density at several saves, of several densities each at the end."""
    dataset, style = sheet.dataset, sheet.style
    maps, curves = blocks(dataset, sheet.reference.order, sheet.reference.views)
    saves, last = telling_saves(dataset, style.frames), dataset.sizes["time"] - 1
    if surfaces := surface_blocks(dataset, label_names(dataset)):
        block, ends = surfaces[0], [0, last]
        draw = partial(draw_surface, sheet=sheet, block=block, saves=ends, scaled=ends, globes=False)
        return 0.85 * len(block.parts) + 0.25, draw
    if not maps:
        return 2.1, partial(draw_curves, sheet=sheet, block=curves[0], saves=telling_saves(dataset, style.curves))
    densities = maps[0].parts if len(maps[0].parts) > 1 else [block.parts[0] for block in maps]
    if len(densities) == 1:
        high, draw_row = map_row(sheet, maps[0], saves)
        return high, draw_row
    several = len(maps[0].parts) > 1
    narrow = several and len(densities) > 3
    names = f", {', '.join(map(symbol, densities[0].selection))} =" if narrow else ""
    words = [", ".join(map(number, part.selection.values())) if narrow else part.title for part in densities]
    row = [Panel(part, last, title) for part, title in zip(densities, words, strict=True)]
    columns = len(row) if several else 1.4 * len(row)  # axes of their own have words of their own
    high = map_height(sheet, proportion(sheet, maps[0], [last]), 1, columns, 2.0)
    title = sheet.time(last) + names
    return high, partial(draw_maps, sheet=sheet, what=maps[0].what, rows=[row], saves=[last], title=title)
