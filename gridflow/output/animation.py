"""Animations of a result: one frame per saved time."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray

from gridflow.errors import require
from gridflow.output.globe import draw_surfaces, surface_panels
from gridflow.output.panels import draw_curves, draw_density
from gridflow.output.projections import label_names, projections

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def animate(dataset: xarray.Dataset, target: Path) -> "Figure":
    """The last frame of an animation with one frame per saved time, written to `target` (.gif or .mp4).

    All panels have one colour scale per frame. Raises InputError for .mp4 without ffmpeg.
    """
    from matplotlib import rcParams
    from matplotlib.animation import FFMpegWriter, FuncAnimation, PillowWriter
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from gridflow.output.figures import Picture

    writer: Any = PillowWriter(fps=10)
    if target.suffix == ".mp4":
        try:
            import imageio_ffmpeg

            rcParams["animation.ffmpeg_path"] = imageio_ffmpeg.get_ffmpeg_exe()
        except ImportError:
            pass  # an ffmpeg on the PATH will do
        fix = "pip install 'gridflow[movie]', or write -o NAME.gif"
        require(FFMpegWriter.isAvailable(), "an .mp4 without ffmpeg on this machine", ".gif, or ffmpeg", fix)
        writer = FFMpegWriter(fps=10)
    parts, surfaces = projections(dataset), surface_panels(dataset, label_names(dataset))
    flat = any(part.ndim == 3 for part in parts.values())
    panels = len(parts) if flat or not parts else 1
    heights = [h for h in (len(surfaces), 1 if parts else 0) if h]
    figure = Picture(figsize=(max(5 * panels, 9 if surfaces else 0), 4.2 * sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)

    def draw(index: int) -> list[Any]:
        figure.clear()
        subfigures: Any = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
        if surfaces:
            draw_surfaces(subfigures[0], dataset, surfaces, [index])
        if flat:
            row = subfigures[-1].subplots(1, panels, squeeze=False)[0]
            for axes, (title, part) in zip(row, parts.items(), strict=True):
                draw_density(axes, part, index, title)
        elif parts:
            axes = subfigures[-1].subplots()
            draw_curves(axes, parts, [index])
            axes.set_ylim(0, 1.05 * max(float(p.max()) for p in parts.values()))
        return []

    FuncAnimation(figure, draw, frames=dataset.sizes["time"]).save(target, writer=writer, dpi=80)
    return figure
