"""Animations of a result: one frame per saved time, with one scale of colours and of heights for all of them."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray

from gridflow.errors import require
from gridflow.output.globe import draw_surface, surface_blocks
from gridflow.output.panels import Panel, Sheet, Update, draw_curves, draw_maps, proportion, together
from gridflow.output.projections import Block, blocks, label_names
from gridflow.output.reference import reference_of
from gridflow.output.style import MOVIE, finish, settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FRAMES_PER_SECOND = 10


def animate(dataset: xarray.Dataset, target: Path) -> "Figure":
    """The last frame of an animation with one frame per saved time, written to `target` (.gif or .mp4).

    The scales are those of all times together. A terminal sees the progress. Raises InputError for .mp4 without ffmpeg.
    """
    from matplotlib import rc_context
    from tqdm import tqdm

    with rc_context(settings(MOVIE)):  # restores the path of ffmpeg, too
        writer = writer_for(target)
        figure, update = first_frame(Sheet(dataset, reference_of(dataset), MOVIE))
        frames = tqdm(range(dataset.sizes["time"]), target.name, file=sys.stderr, unit="frame", disable=not sys.stderr.isatty())
        with writer.saving(figure, target, MOVIE.dpi):
            for index in frames:
                update(index)
                writer.grab_frame()
    return figure


def writer_for(target: Path) -> Any:
    """What writes frames into a file of this ending."""
    from matplotlib import rcParams
    from matplotlib.animation import FFMpegWriter, PillowWriter

    if target.suffix != ".mp4":
        return PillowWriter(fps=FRAMES_PER_SECOND)
    try:
        import imageio_ffmpeg

        rcParams["animation.ffmpeg_path"] = imageio_ffmpeg.get_ffmpeg_exe()
    except ImportError:
        pass  # an ffmpeg on the PATH will do
    fix = "pip install 'gridflow[movie]', or write -o NAME.gif"
    require(FFMpegWriter.isAvailable(), "an .mp4 without ffmpeg on this machine", ".gif, or ffmpeg", fix)
    return FFMpegWriter(fps=FRAMES_PER_SECOND)


def first_frame(sheet: Sheet) -> tuple["Figure", Update]:
    """The figure with its layout fixed, and what draws another save in it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    dataset = sheet.dataset
    maps, curves = blocks(dataset, sheet.reference.order, sheet.reference.views)
    surfaces = surface_blocks(dataset, label_names(dataset))
    every = list(range(dataset.sizes["time"]))
    heights = [2.0 * len(s.parts) for s in surfaces] + [map_height(sheet, block, every) for block in maps] + [3.0 for _ in curves]
    figure = Figure(figsize=(sheet.style.width, sum(heights) + 0.5), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    clock = figure.suptitle(" ")
    parts = iter(figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0])
    updates = [draw_surface(next(parts), sheet, block, [0], every) for block in surfaces]
    for block in maps:
        row = [Panel(part, 0, part.title) for part in block.parts]
        updates.append(draw_maps(next(parts), sheet, block.what, [row], every))
    updates += [draw_curves(next(parts), sheet, block, every, movie=True) for block in curves]
    updates.append(lambda index: clock.set_text(sheet.time(index)))
    finish(figure, sheet.style)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # frames differ in nothing but what the updates draw
    return figure, together(updates)


def map_height(sheet: Sheet, block: Block, saves: list[int]) -> float:
    """Height in inches of a row of maps in true proportion, as far as the frame has room."""
    wide = (sheet.style.width - 1.4) / len(block.parts)
    return min(wide * proportion(sheet, block, saves), 5.0) + 0.9
