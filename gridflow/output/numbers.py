"""Panels of numbers over time, where a dataset has something to see of them: energy, mass, certificates, and the fit."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import xarray

from gridflow.output.style import LINES, mark_decades, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Draw = Callable[["Axes"], None]
FELT = 1e-6
"""A box is felt where more of the mass than this share is in its outermost cells."""
CHANGES = 1e-6
"""Relative changes of the energy or of the mass below this are not drawn."""
FALLS = 20.0
"""Energies that fall by more than this factor have a logarithmic axis."""
SEEN = 1e-12
"""Certificates are drawn down to this share of the largest one."""
SHORT = 14
"""Letters of words that stand side by side above a panel."""
CERTIFICATES = {
    "boundary_mass": "mass at the walls",
    "gibbs_distance": "L¹ to Gibbs density",
    "free_energy_gap": "D·KL to Gibbs density",
    "error_w1": "W₁ error",
    "error_l1": "L¹ error",
    "weight_error": "error of weights",
    "viscous_work": "viscous work",
}
"""Numbers that are drawn together, with their words."""


def number_panels(dataset: xarray.Dataset, temperature: float) -> list[Draw]:
    """What draws each of the panels."""
    panels: list[Draw] = []
    energy = dataset["energy"].to_numpy()
    if np.ptp(energy) > CHANGES * np.abs(energy).max():
        panels.append(lambda axes: draw_energy(axes, dataset, temperature))
    if "mass_free" in dataset.attrs and np.ptp(dataset["mass"].to_numpy()) > CHANGES * float(dataset["mass"].max()):
        panels.append(lambda axes: draw_mass(axes, dataset))
    if dataset.sizes["time"] > 1 and (shown := certificates(dataset)):
        panels.append(lambda axes: draw_certificates(axes, dataset, shown))
    if "prediction" in dataset and dataset.sizes["data"] > 1:
        panels.append(lambda axes: draw_fit(axes, dataset))
    return panels


def draw_energy(axes: "Axes", dataset: xarray.Dataset, temperature: float) -> None:
    """Loss of a network, free energy with a temperature, or energy over time."""
    energy, time = dataset["energy"].to_numpy(), dataset["time"].to_numpy()
    axes.plot(time, energy, color=LINES[0])
    word = "loss" if "prediction" in dataset and temperature == 0 else "energy"
    axes.set(xlabel="time $t$", ylabel="free energy" if temperature > 0 else word)
    if energy.min() > 0 and energy.max() > FALLS * energy.min():
        axes.set_yscale("log")
        mark_decades(axes.yaxis, axes.get_ylim())


def draw_mass(axes: "Axes", dataset: xarray.Dataset) -> None:
    """The mass, where a reaction changes it."""
    axes.plot(dataset["time"], dataset["mass"], color=LINES[0])
    axes.set(xlabel="time $t$", ylabel="mass")


def certificates(dataset: xarray.Dataset) -> dict[str, str]:
    """Words for the numbers that are drawn together, by their name."""
    found = {name: words for name, words in CERTIFICATES.items() if name in dataset}
    positive = {name: words for name, words in found.items() if float(dataset[name].max()) > 0}
    return {n: words for n, words in positive.items() if n != "boundary_mass" or float(dataset[n].max()) > FELT}


def draw_certificates(axes: "Axes", dataset: xarray.Dataset, shown: dict[str, str]) -> None:
    """Numbers that are 0 for a perfect result, over time."""
    for colour, (name, words) in zip(LINES, shown.items(), strict=False):
        values = dataset[name].to_numpy()
        axes.semilogy(dataset["time"], np.where(values > 0, values, np.nan), color=colour, label=words)
    largest = max(float(dataset[name].max()) for name in shown)
    later = np.concatenate([dataset[name].to_numpy()[1:] for name in shown])  # the start is often exact to round-off
    smallest = later[later > SEEN * largest].min(initial=largest)
    axes.set(xlabel="time $t$", ylim=(0.5 * smallest, 2 * largest))
    mark_decades(axes.yaxis, axes.get_ylim())
    if len(shown) == 1:
        axes.set_ylabel(next(iter(shown.values())))
    else:
        legend_above(axes)


def draw_fit(axes: "Axes", dataset: xarray.Dataset) -> None:
    """Predictions at the first and the last time, over a single input or over the targets."""
    target, prediction = dataset["target"].to_numpy(), dataset["prediction"].to_numpy()
    ends = [f"t = {number(float(dataset['time'][k]))}" for k in (0, -1)]
    if dataset.sizes["input_component"] == 1 and target.ndim == 1:
        x = dataset["input"].to_numpy()[:, 0]
        order = np.argsort(x)
        for k, colour, words in ((0, "0.65", ends[0]), (-1, LINES[0], ends[1])):
            axes.plot(x[order], prediction[k][order], color=colour, label=words)
        axes.plot(x, target, "o", ms=3, mfc="none", mec="black", mew=0.8, label="data")
        axes.set(xlabel="input", ylabel="output")
    else:
        for k, colour, words in ((0, "0.65", ends[0]), (-1, LINES[0], ends[1])):
            size = 2 if target.size > 60 else 4
            axes.plot(target.ravel(), prediction[k].ravel(), "o", ms=size, mew=0, color=colour, label=words)
        corners = [float(target.min()), float(target.max())]
        axes.plot(corners, corners, "k-", lw=0.8, zorder=0)  # where predictions are right
        axes.set(xlabel="target", ylabel="prediction")
    legend_above(axes)


def legend_above(axes: "Axes") -> None:
    """A legend outside of the axes, above them, in two columns where its words are short."""
    words = [str(word) for word in axes.get_legend_handles_labels()[1]]
    columns = 2 if max(map(len, words)) <= SHORT else 1
    spaces = {"borderaxespad": 0.1, "columnspacing": 0.8, "labelspacing": 0.2, "handlelength": 1.2}
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns, **spaces)
