"""What does a verdict catch? Faults planted into the velocity of particles, and what `gridflow.validate` says to each.

    python validation/planted_faults.py [CASE ...] [--quick]

The grid keeps the right energy. Prints, per case, what the right run claims to detect, and for every fault the quantities that
fail. Minutes per case (a full validation for each fault); with --quick less.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

import gridflow
from gridflow.energy.base import ParticleEvaluation
from gridflow.shipped import shipped_cases

FAULTS: dict[str, Callable] = {
    "velocity 2 % too large": lambda gradient, factors: 1.02 * gradient,
    "velocity 2 % too small": lambda gradient, factors: 0.98 * gradient,
    "time scaled by 2": lambda gradient, factors: 2 * gradient,
    "sign of the last coordinate": lambda gradient, factors: gradient * np.append(np.ones(len(factors) - 1), -1),
}


class Faulty:
    """The energy of a case with a fault in the gradient that its particles see."""

    def __init__(self, case: gridflow.Case, fault: Callable) -> None:
        self.energy, self.fault = case.energy.load(Path(case.directory)), fault

    def bind(self, grid):
        return self.energy.bind(grid)

    def particles(self, factors):
        return FaultyParticles(self.energy.particles(factors), self.fault, factors)


class FaultyParticles:
    def __init__(self, right, fault, factors) -> None:
        self.right, self.fault, self.factors = right, fault, factors
        self.order = getattr(right, "order", 1)

    def evaluate(self, points, weights, batch=None) -> ParticleEvaluation:
        result = self.right.evaluate(points, weights, batch)
        return ParticleEvaluation(result.value, self.fault(result.gradient, self.factors), result.prediction)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=list(shipped_cases()))
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    for name in arguments.cases:
        case = gridflow.load_case(name).replace({"exact": None})
        right = gridflow.validate(case, quick=arguments.quick)
        print(f"{name}: {right.attrs['verdict']}, claims to detect {100 * right.attrs['detects']:.2g} %", flush=True)
        for title, fault in FAULTS.items():
            try:
                result = gridflow.validate(case, quick=arguments.quick, energy=Faulty(case, fault))
                failed = [str(q) for q, o in zip(result["quantity"].values, result["outcome"].values, strict=True) if o == "fail"]
                print(f"  {title}: {result.attrs['verdict']} {' '.join(failed)}", flush=True)
            except gridflow.SolveError as error:
                print(f"  {title}: stopped, {error}", flush=True)


if __name__ == "__main__":
    main()
