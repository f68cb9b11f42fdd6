"""What the regularization δ does to the certificates of an MMD flow.

    python validation/mmd_certificates.py

For two runs, one from far away (mmd-gaussian, coarse) and one from a uniform density that covers the target: S, the ratio
2F/(S√D) of the inequality of Cauchy and Schwarz and the bound on F at the end, for δ from 10⁻² to 10⁻¹⁰ of the mass; and seconds
per save.
"""

import time

import gridflow
from gridflow.energy.certificates import energy_bound

COARSE = {"space.x.cells": 120, "space.y.cells": 112, "time.stop": 40.0, "time.save": 21}
COVERED = {**COARSE, "initial": [{"density": {"x": {"kind": "uniform"}, "y": {"kind": "uniform"}}}]}


def main():
    for name, changes in (("from far away", COARSE), ("from a uniform density", COVERED)):
        print(f"{name}\n  δ·|Θ|    S at the start, middle, end      ratio at them           F(T)      bound on it  s/save")
        case = gridflow.load_case("mmd-gaussian").replace(changes)
        start = time.perf_counter()
        gridflow.solve(case)
        plain = time.perf_counter() - start
        for regularization in (1e-2, 1e-4, 1e-6, 1e-8, 1e-10):
            start = time.perf_counter()
            dataset = gridflow.solve(case.replace({"energy.certificates": {"regularization": regularization}}))
            seconds = (time.perf_counter() - start - plain) / dataset.sizes["time"]
            three = dataset.isel(time=[0, 10, 20])
            s, ratio = three["sobolev"].to_numpy(), three["sobolev_ratio"].to_numpy()
            shown = "  ".join(f"{v:9.3g}" for v in s) + "   " + "  ".join(f"{v:.1e}" for v in ratio)
            end = f"{float(dataset['energy'][-1]):.4f}    {float(energy_bound(dataset)[-1]):.4f}"
            print(f"  {regularization:<7.0e} {shown}   {end}      {seconds:.2f}")


if __name__ == "__main__":
    main()
