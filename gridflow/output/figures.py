"""Figures that a notebook shows.

By itself matplotlib shows figures that pyplot manages; these are made without it, which would keep all of them open.
"""

from io import BytesIO

from matplotlib.figure import Figure


class Picture(Figure):
    """A figure that is the value of a cell of a notebook is shown there, as PNG; to IPython `_repr_png_` says how."""

    def _repr_png_(self) -> bytes:
        picture = BytesIO()
        self.savefig(picture, format="png")
        return picture.getvalue()
