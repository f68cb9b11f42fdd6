"""Animations of a result: one frame per saved time, with one scale of colours and of heights for all of them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray

from gridflow.errors import require
from gridflow.output.globe import draw_surface, surface_blocks
from gridflow.output.panels import Panel, Sheet, Update, draw_curves, draw_maps, proportion, together
from gridflow.output.projections import Block, blocks, label_names
from gridflow.output.reference import reference_of
from gridflow.output.style import BLUE, COLOURS, MOVIE, VERMILLION, finish, settings

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
        writer = movie_writer() if target.suffix == ".mp4" else GifWriter()
        figure, update = first_frame(Sheet(dataset, reference_of(dataset), MOVIE))
        frames = tqdm(range(dataset.sizes["time"]), target.name, file=sys.stderr, unit="frame", disable=not sys.stderr.isatty())
        with writer.saving(figure, target, MOVIE.dpi):
            for index in frames:
                update(index)
                writer.grab_frame()
    return figure


def movie_writer() -> Any:
    """matplotlib's writer of .mp4 files. Raises InputError where there is no ffmpeg."""
    from matplotlib import rcParams
    from matplotlib.animation import FFMpegWriter

    try:
        import imageio_ffmpeg

        rcParams["animation.ffmpeg_path"] = imageio_ffmpeg.get_ffmpeg_exe()
    except ImportError:
        pass  # an ffmpeg on the PATH will do
    fix = "pip install 'gridflow[movie]', or write -o NAME.gif"
    require(FFMpegWriter.isAvailable(), "an .mp4 without ffmpeg on this machine", ".gif, or ffmpeg", fix)
    return FFMpegWriter(fps=FRAMES_PER_SECOND)


class GifWriter:
    """Writes frames that share their 256 colours.

    By itself Pillow chooses new ones for every frame, so that a density would change its colour, and parts of the bar of colours
    that a frame does not use would turn grey.
    """

    def __init__(self) -> None:
        self.frames: list[Any] = []
        self.palette = shared_colours()

    @contextmanager
    def saving(self, figure: "Figure", target: Path, dpi: float) -> Iterator[None]:
        """Frames that are grabbed inside are written in the end."""
        self.figure = figure
        figure.set_dpi(dpi)
        yield
        first, *others = self.frames
        first.save(target, save_all=True, append_images=others, duration=1000 // FRAMES_PER_SECOND, loop=0)

    def grab_frame(self) -> None:
        """Adds the figure as it is."""
        from PIL import Image

        canvas: Any = self.figure.canvas
        canvas.draw()
        drawn = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
        self.frames.append(drawn.quantize(palette=self.palette, dither=Image.Dither.NONE))


def shared_colours() -> Any:
    """A palette of Pillow: the colours of densities, bare and under white lines, greys, and those of lines with their edges."""
    from matplotlib import colormaps
    from matplotlib.colors import to_rgb
    from PIL import Image

    scale = colormaps[COLOURS](np.linspace(0, 1, 152))[:, :3]
    shares = np.linspace(0, 1, 12)[:, None]
    edges = [shares * to_rgb(colour) + (1 - shares) for colour in (BLUE, VERMILLION)]
    greys = np.repeat(np.linspace(0, 1, 42)[:, None], 3, axis=1)
    chosen = np.concatenate([scale, 0.7 * scale[::4] + 0.3, *edges, greys])
    palette = Image.new("P", (1, 1))
    palette.putpalette((255 * chosen).round().astype(np.uint8).ravel().tolist())
    return palette


def first_frame(sheet: Sheet) -> tuple["Figure", Update]:
    """The figure with its layout fixed, and what draws another save in it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from gridflow.output.figures import Picture

    dataset = sheet.dataset
    maps, curves = blocks(dataset, sheet.reference.order, sheet.reference.views)
    surfaces = surface_blocks(dataset, label_names(dataset))
    every = list(range(dataset.sizes["time"]))
    heights = [2.0 * len(s.parts) for s in surfaces] + [map_height(sheet, block, every) for block in maps] + [3.0 for _ in curves]
    figure = Picture(figsize=(sheet.style.width, sum(heights) + 0.5), layout="constrained", facecolor="white")
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
    for _ in range(2):  # axes with a fixed proportion need the layout twice
        figure.draw_without_rendering()
    figure.set_layout_engine("none")  # frames differ in nothing but what the updates draw
    return figure, together(updates)


def map_height(sheet: Sheet, block: Block, saves: list[int]) -> float:
    """Height in inches of a row of maps in true proportion, as far as the frame has room."""
    wide = (sheet.style.width - 1.4) / len(block.parts)
    return min(wide * proportion(sheet, block, saves), 5.0) + 0.9
