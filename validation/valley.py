"""How fast does mass slide along a kink of ξ that is oblique to the grid? Too slowly, and finer cells do not help.

    python validation/valley.py

ξ = |n| − s·t with t along a line through the origin and n across it: mass falls onto the line and slides along it with speed s.
ReLU networks have such valleys at w x_j + b = 0. Fluxes see ξ at cells only: where the line passes close to a cell point, all
four neighbours of that cell may be higher, and mass stays there. Finite volumes do not converge then: a finer grid shows the same
picture. JKO steps move mass over several cells at once and come closer.
Prints mean displacement along the line at t = 2, over s·t, which is 1 for the exact flow.
"""

import numpy as np

import gridflow
from gridflow.case import Case, Time
from gridflow.energy.base import Evaluation
from gridflow.energy.potential import Potential
from gridflow.scheme.finite_volume import FiniteVolume
from gridflow.scheme.jko import JKO
from gridflow.space.density import Component, Normal
from gridflow.space.factor import Interval

STOP = 2.0


class Valley:
    """∫ξ dρ with ξ = |n| − slope·t."""

    def __init__(self, angle, slope):
        self.angle, self.slope = angle, slope

    def along(self, x, y):
        return np.cos(self.angle) * x + np.sin(self.angle) * y

    def bind(self, grid):
        x, y = grid.coordinate("x"), grid.coordinate("y")
        across = np.sin(self.angle) * x - np.cos(self.angle) * y
        return BoundValley(np.ascontiguousarray(np.abs(across) - self.slope * self.along(x, y)))


class BoundValley:
    convex = True
    smooth = False

    def __init__(self, xi):
        self.xi = xi

    def evaluate(self, mass):
        return Evaluation(float((self.xi * mass).sum()), self.xi, 1e-14)


def displacement(scheme, cells, angle, slope):
    """Mean displacement along the line over slope·t."""
    interval, start = Interval(bounds=(-3.0, 3.0), cells=cells), Normal(mean=0.0, deviation=0.3)
    case = Case(
        title="valley", space={"x": interval, "y": interval}, energy=Potential(), initial=[Component({"x": start, "y": start})],
        time=Time(stop=STOP, save=2), scheme=scheme,
    )  # fmt: skip
    valley = Valley(angle, slope)
    dataset = gridflow.solve(case, energy=valley)
    masses = (dataset["density"] * dataset["cell_volume"]).isel(time=-1)
    return float((masses * valley.along(dataset["x"], dataset["y"])).sum()) / (slope * STOP)


def main():
    print("angle   slope   cells   finite volumes   JKO, tau = h   JKO, tau = 4h")
    for angle in (0.0, 0.5):
        for slope in (0.1, 0.3, 1.0):
            for cells in (48, 96):
                h = 6.0 / cells
                row = [displacement(s, cells, angle, slope) for s in (FiniteVolume(), JKO(tau=h), JKO(tau=4 * h))]
                print("{:<7g} {:<7g} {:<7d} {:<16.3f} {:<14.3f} {:.3f}".format(angle, slope, cells, *row), flush=True)


if __name__ == "__main__":
    main()
