"""Error against time on the exact problems, drawn from stored points."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from validation.benchmark.exact import ERRORS, PROBLEMS, TITLES
from validation.benchmark.measure import Point

STYLES = {
    "gridflow": {"color": "#0072B2", "marker": "o", "linestyle": "-"},
    "particles": {"color": "#D55E00", "marker": "s", "linestyle": "--"},
    "py-pde": {"color": "#000000", "marker": "^", "linestyle": ":"},
}
"""Colours of Okabe and Ito, which colour-blind readers tell apart; markers and lines differ too."""
LABELS = {
    "gridflow": "gridflow, cells along a side",
    "particles": "random particles, their number",
    "py-pde": "py-pde, explicit Euler",
}


def draw(points: list[Point], path: Path) -> None:
    """One panel per problem; the sizes stand beside the ends of the curves."""
    names = [name for name in PROBLEMS if any(p.problem == name for p in points)]
    figure = Figure(figsize=(3.4 * len(names), 3.5), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for method, style in STYLES.items():
            chosen = sorted((p for p in points if p.problem == name and p.method == method), key=lambda p: p.size)
            if not chosen:
                continue
            axes.loglog([p.seconds for p in chosen], [p.error for p in chosen], label=LABELS[method], markersize=5, **style)
            for k in (0, -1):
                at, beside, side = (chosen[k].seconds, chosen[k].error), ((6, 2), (2, -13))[k], ("left", "right")[k]
                axes.annotate(
                    f"{chosen[k].size}", at, beside, textcoords="offset points", ha=side, fontsize=10, color=style["color"]
                )
        axes.set(title=TITLES[name], xlabel="CPU seconds, one thread", ylabel=f"{ERRORS[name]} error at the end")
        axes.margins(0.15)
        axes.xaxis.set_minor_formatter(NullFormatter())
        lower, upper = axes.get_xlim()
        axes.set_xlim(min(lower, 10 ** np.floor(np.log10(upper))), max(upper, 10 ** np.ceil(np.log10(lower))))  # shows a decade
        axes.grid(alpha=0.3)
    handles = {label: h for axes in figure.axes for h, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles), fontsize=10)
    figure.savefig(path, dpi=90)
