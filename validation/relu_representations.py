"""Four ways to write one ReLU network as a measure (S2 §10): the same predictions at the start, different dynamics.

    python validation/relu_representations.py OUTDIR

    relu-representations             density on R² × R, (w, α):     f = E[α ⟨w, x⟩₊]
    relu-representations-signed      signed measure on R²:          f = E[± ⟨w, x⟩₊]
    relu-representations-pairs       density on R² × R²:            f = E[⟨w₊, x⟩₊ − ⟨w₋, x⟩₊]
    relu-representations-directions  density on S¹ × R, (d, α̃):    f = E[α̃ ⟨d, x⟩₊]

Weights start rotationally symmetric. With w ~ N(0, s²I) and α independent of it, f(x) = E[α] s ‖x‖/√(2π), x with its bias 1;
with shares p₊ and p₋ of the signs, p₊ − p₋ takes the place of E[α]; with pairs s₊ − s₋ = E[α] s; with uniform directions
E⟨d, x⟩₊ = ‖x‖/π, so that E[α̃] = E[α] s √(π/2). Solves the four cases, prints predictions at the start and when half of the loss
is gone, and writes OUTDIR/relu_representations.nc (loss and predictions of all, over time) and .png.
"""

import sys
from pathlib import Path

import numpy as np
import xarray
from matplotlib.figure import Figure

import gridflow

CASES = tuple(f"relu-representations{ending}" for ending in ("", "-signed", "-pairs", "-directions"))
MEAN_OUTPUT, DEVIATION = 0.5, 0.6
"""E[α] and s of the cases."""
STOP, SAVES = 2.5, 26
"""A little longer than the cases: the slowest then has lost half of its loss."""


def prediction_at_start(inputs):
    """In the continuum, (n_data,); inputs without bias."""
    return MEAN_OUTPUT * DEVIATION * np.sqrt((inputs**2).sum(axis=1) + 1) / np.sqrt(2 * np.pi)


def curves(name):
    """Loss and predictions over time; densities are not kept."""
    case = gridflow.load_case(name)
    dataset = gridflow.solve(case.replace({"time.stop": STOP, "time.save": SAVES}))
    if dataset.attrs["status"] != "completed":
        sys.exit(f"{name}: {dataset.attrs['status']}")
    return dataset[["energy", "prediction", "input", "target"]].load()


def half_time(energy):
    """When half of the loss is gone, by linear interpolation; inf if it is not."""
    values, time = energy.to_numpy(), energy["time"].to_numpy()
    half = values[0] / 2
    return float(np.interp(-half, -values, time)) if values[-1] < half else np.inf


def main(directory):
    directory.mkdir(parents=True, exist_ok=True)
    results = [curves(name) for name in CASES]
    exact = prediction_at_start(results[0]["input"].to_numpy())
    print(f"{'case':<32} {'predictions at the start':<42} {'loss':>7} {'at end':>7}   half of it gone at")
    print(f"{'continuum':<32} {'  '.join(f'{v:+.4f}' for v in exact)}")
    for name, result in zip(CASES, results, strict=True):
        start = "  ".join(f"{v:+.4f}" for v in result["prediction"].isel(time=0).to_numpy())
        energy = result["energy"]
        print(f"{name:<32} {start:<42} {float(energy[0]):7.4f} {float(energy[-1]):7.4f}   t = {half_time(energy):.3f}")
    together = xarray.concat(results, xarray.Variable("case", list(CASES)), data_vars=["energy", "prediction"])
    together.attrs = {"title": "Four representations of one ReLU network", "source": "S2 §10"}
    together.to_netcdf(directory / "relu_representations.nc")

    figure = Figure(figsize=(11, 4), layout="constrained")
    loss, fit = figure.subplots(1, 2)
    x = results[0]["input"].to_numpy()[:, 0]
    fit.plot(x, results[0]["target"], "ko", label="data")
    fit.plot(x, exact, "k:", label="all at the start")
    for name, result in zip(CASES, results, strict=True):
        loss.semilogy(result["time"], result["energy"], label=name)
        fit.plot(x, result["prediction"].isel(time=-1), label=name)
    loss.set(xlabel="time", title="loss")
    fit.set(xlabel="input", title=f"predictions at t = {float(results[0]['time'][-1]):g}")
    for axes in (loss, fit):
        axes.legend(fontsize="small")
    figure.savefig(directory / "relu_representations.png", dpi=110)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
