"""Sizes, colours and words of pictures: two sizes, colours that the colour-blind tell apart, symbols and ticks of factors."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray

from gridflow.errors import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Style:
    """width : of the figure in inches; text : size in points; frames, curves : saves that are shown as maps, as curves;
    ticks : most ticks of an axis; heading : whether there is a title, with its notes; dpi : of pixels in files
    """

    width: float
    text: float
    frames: int
    curves: int
    ticks: int
    heading: bool
    dpi: int

    @property
    def line(self) -> float:
        """Height of a line of text in inches."""
        return self.text / 72


STYLES = {
    "screen": Style(width=9.0, text=9.0, frames=4, curves=6, ticks=5, heading=True, dpi=120),
    "paper": Style(width=3.4, text=7.0, frames=3, curves=5, ticks=3, heading=False, dpi=300),
}
"""By the word for `size`. A paper's column is 3.4 inches wide, and its captions say what a title would."""
MOVIE = Style(width=8.0, text=11.0, frames=1, curves=1, ticks=5, heading=True, dpi=100)
"""Frames of 800 pixels."""
BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILLION, PURPLE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip
"""Okabe and Ito (2008): told apart by the colour-blind."""
LINES = (BLUE, VERMILLION, SKY, ORANGE, PURPLE, BLACK)
"""For lines of one panel, in this order: no pair of red and green."""
COLOURS = "viridis"
"""Of densities: even to the eye, and in grey."""
LETTER = (
    "[A-Za-z]|alpha|beta|gamma|delta|epsilon|zeta|eta|theta|iota|kappa|lambda|mu|nu|xi|pi|rho|sigma|tau|upsilon|phi|chi|psi|omega"
)
SUBSCRIPTS = {"plus": "+", "minus": "-"}
UNITS = {"1": "", "radian": " (rad)", "degree": " (°)"}


def style_of(size: str) -> Style:
    """The style of a size. Raises InputError for an unknown one."""
    require(size in STYLES, f"the size {size!r} of a picture", f"one of: {', '.join(STYLES)}", "choose one of them")
    return STYLES[size]


def settings(style: Style) -> Any:
    """matplotlib's parameters while a figure is made: a white ground, whatever the viewer's is."""
    small = ("axes.labelsize", "axes.titlesize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize", "figure.titlesize")
    return {
        "font.size": style.text,
        **dict.fromkeys(small, style.text),
        "figure.facecolor": "white",
        "savefig.facecolor": "white",
        "axes.linewidth": 0.6,
        "lines.linewidth": 1.3 if style.heading else 1.0,
        "lines.markersize": 5.0 if style.heading else 3.5,
        "axes.labelpad": 2.0,
        "axes.titlepad": 3.0,
        "legend.frameon": False,
        "legend.handlelength": 1.6,
        "figure.constrained_layout.h_pad": 0.03,
        "figure.constrained_layout.w_pad": 0.03,
    }


def symbol(name: str) -> str:
    """The name of a factor as it is written: θ₀ for theta_0, b₁ for b1, w₊ for w_plus; words stay words."""
    match = re.fullmatch(rf"({LETTER})_?(\d+|plus|minus)?", name)
    if match is None:
        return name.replace("_", " ")
    letter = match[1] if len(match[1]) == 1 else f"\\{match[1]}"
    below = SUBSCRIPTS.get(match[2], match[2]) if match[2] else ""
    return f"${letter}_{{{below}}}$" if below else f"${letter}$"


def axis_label(coordinate: xarray.DataArray) -> str:
    """Symbol and units of a factor."""
    units = str(coordinate.attrs.get("units", "1"))
    return symbol(str(coordinate.name)) + UNITS.get(units, f" ({units})")


def number(value: float) -> str:
    """Three digits and no powers of ten where that is short, with a minus as long as a plus."""
    plain = value == 0 or 1e-4 <= abs(value) < 1e5
    words = np.format_float_positional(value, precision=3, fractional=False, trim="-") if plain else f"{value:.2g}"
    return words.replace("-", "−")


def turn_of(coordinate: xarray.DataArray, ends: tuple[float, float]) -> float:
    """The length of a circle that is an angle, 2π or 360; else 0."""
    full = {"radian": 2 * np.pi, "degree": 360.0}.get(str(coordinate.attrs.get("units", "1")), 0.0)
    return full if full and abs(ends[1] - ends[0] - full) < 1e-6 * full else 0.0


def round_marks(ends: tuple[float, float], most: int) -> list[float]:
    """At most so many multiples of a round number between two ends, not so close to them that words of neighbours meet."""
    span = ends[1] - ends[0]
    steps = 10.0 ** np.floor(np.log10(span / most)) * np.array([1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0])
    first, last = np.ceil((ends[0] + 0.03 * span) / steps), np.floor((ends[1] - 0.03 * span) / steps)
    chosen = int(np.argmax(last - first < most))  # the smallest step with few enough
    return [float(steps[chosen] * k) + 0.0 for k in np.arange(first[chosen], last[chosen] + 1)]


def set_ticks(axes: "Axes", which: str, coordinate: xarray.DataArray, ends: tuple[float, float], most: int) -> None:
    """Ticks along "x" or "y": multiples of π or of 90° on a circle, the values of labels, else few round numbers."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    turn = turn_of(coordinate, ends)
    if turn:
        parts = 4 if most > 4 else 2
        words = {4: ["0", "π/2", "π", "3π/2", "2π"], 2: ["0", "π", "2π"]}[parts]
        marks = np.linspace(0.0, turn, parts + 1)
        axis.set_ticks(marks, words if turn < 7 else [f"{mark:g}" for mark in marks])
        return
    if f"{coordinate.name}_bounds" not in coordinate.coords and coordinate.size <= 8:
        axis.set_ticks(coordinate.to_numpy(), [number(v) for v in coordinate.to_numpy()])
        return
    chosen = round_marks(ends, most)
    axis.set_ticks(chosen, [number(mark) for mark in chosen])


def mark_decades(axis: Any, ends: tuple[float, float]) -> None:
    """Words on a logarithmic axis: at powers of ten where it holds two or more, else at 1, 2 and 5 times a power of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    lower, upper = np.log10(ends)
    axis.set_minor_formatter(NullFormatter())
    if np.floor(upper) - np.ceil(lower) < 1:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))


def scale_by_cells(axes: "Axes", which: str, points: np.ndarray) -> bool:
    """Cells of one width on paper, where their widths differ by more than ten: else nothing is seen at the focus."""
    steps = np.diff(points)
    if steps.max() < 10 * steps.min():
        return False
    index = np.arange(points.size, dtype=float)
    functions = (lambda v: np.interp(v, points, index), lambda i: np.interp(i, index, points))
    (axes.set_xscale if which == "x" else axes.set_yscale)("function", functions=functions)
    decades = 10.0 ** np.arange(np.floor(np.log10(np.abs(points).max())), -9, -1)
    reach = np.abs(points).max()
    marks = [0.0]
    for size in decades:  # from the walls to the focus, as far apart as their words are wide
        for mark in (size, -size):
            apart = np.abs(np.interp([mark], points, index) - np.interp(marks, points, index)).min()
            if points[0] <= mark <= points[-1] and apart > points.size / 7 and size <= reach:
                marks.append(float(mark))
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_ticks(sorted(marks), [number(v) for v in sorted(marks)])
    return True


def finish(figure: "Figure", style: Style) -> None:
    """Ticks of one size in all axes; most are made when the figure is drawn, with the settings of that time but for these."""
    for axes in figure.get_axes():
        axes.tick_params(labelsize=style.text, width=0.6, length=2.5)
        axes.tick_params(which="minor", labelsize=style.text, width=0.4, length=1.5)
        for offset in (axes.xaxis.get_offset_text(), axes.yaxis.get_offset_text()):
            offset.set_fontsize(style.text)
