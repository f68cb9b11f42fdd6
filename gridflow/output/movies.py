"""Animations that a notebook shows, and animations in files."""

from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import xarray

from gridflow.errors import require
from gridflow.output.plotting import MOVIES, plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False)
class Movie:
    """An animation in memory, as GIF: the value of a cell of a notebook is shown there."""

    gif: bytes

    def __repr__(self) -> str:
        return f"<Movie, GIF of {len(self.gif) // 1024} KiB>"

    def _repr_html_(self) -> str:
        return f'<img src="data:image/gif;base64,{b64encode(self.gif).decode()}">'


def movie(dataset: xarray.Dataset, output: str | Path | None, overwrite: bool) -> "Movie | Figure":
    """An animation with one frame per saved time, or where it is written to a file its last frame."""
    if output is None:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "movie.gif"
            plot(dataset, path)
            return Movie(path.read_bytes())
    require(Path(output).suffix in MOVIES, f"the animation {str(output)!r}", ".gif or .mp4", 'animate("run.gif")')
    return plot(dataset, output, overwrite)
