"""One step of the transport by an SSP Runge–Kutta scheme of order 2, and the limits on its length.

From ρ₀ it takes s − 1 Euler steps of length h = dt/(s − 1) and a mean (the optimal strong-stability-preserving scheme of s stages
and order 2: Ketcheson 2008, SIAM J. Sci. Comput. 30, 2113–2136; for s = 2 it is Heun's method):

    ρᵢ = ρᵢ₋₁ + h L(ρᵢ₋₁; ξ[ρᵢ₋₁]),  i = 1 … s − 1,     ρ' = ρ₀/s + (1 − 1/s)(ρₛ₋₁ + h L(ρₛ₋₁; ξ[ρₛ₋₁]))

with L the face sweep (`gridflow.scheme.finite_volume.stage`). Three limits hold for h, so that s stages make dt = (s − 1)h; from
2 to `STAGES_MAX` are taken, as many as dt needs.

* positivity: κ·h·(largest outflow rate) ≤ cfl; every new density is checked, and a step that fails is redone;
* energy: an Euler step lowers a quadratic energy exactly if h ≤ 2·Dissipation/D²E[ρ̇, ρ̇], and ρ' is a convex combination of ρ₀
  and the last of s Euler steps, so that E(ρ') ≤ E(ρ₀) for every convex energy if all of them keep the limit. The first keeps 0.9
  of it; the outcome E(ρ') ≤ E(ρ₀) is checked, up to round-off, and a step that fails is redone. With positivity alone dt grows
  without bound where the flow becomes stationary, and then the energy rises;
* curvature: the same for every other direction than ρ̇, h ≤ 0.8·2/λ, λ the largest eigenvalue of the linearised flow
  (`gridflow.scheme.finite_volume.curvature`). Without it modes at grid scale grow in flows whose ξ contains ρ or derivatives of
  its potential, while the energy falls. It is the limit that remains where a decrease is too small to be measured.

A fourth limit is one on dt:

* accuracy: the lengths of an Euler step dt and of Heun's, measured in the metric of the flow, differ by ½dt|√D₁ − √D₀| (D the
  dissipation = squared speed, D₁ that of ρₛ₋₁). They may differ by accuracy·L/n² (L, n: length and cells of the finest factor):
  the same power of the cell size as the error in space, so that the order 2 survives where dt is not bound to the cell size. For
  equal h the error in time of s stages is s − 1 times that of Heun's method, of order 2 in h.

Where terms of the flow are split off there are two stages only: their own steps are as long as dt and limited as Euler steps are.
So it is in steps with a viscosity (`gridflow.scheme.finite_volume.sliding`): without it, which comes in between, drift pins mass.
"""

from copy import copy
from typing import NamedTuple, Self

import numpy as np

from gridflow.flow.term import Point
from gridflow.scheme.base import State
from gridflow.scheme.finite_volume.curvature import Curvature
from gridflow.scheme.finite_volume.drive import Drive
from gridflow.scheme.finite_volume.limits import ENERGY_SAFETY, Limits
from gridflow.scheme.finite_volume.sliding import Viscosity
from gridflow.scheme.finite_volume.transport import EULER, Swept, Transport
from gridflow.space.factor import Array

HEUN, STAGES_MAX = 2, 10
"""Fewest and most stages. Of s stages s − 1 bring the step forward: two cost twice as much as one Euler step for the same time,
ten 1.11 times as much."""
GROWTH_MAX = 2.0
"""Of dt from one step to the next."""
SHARE_OF_MANY = 0.25
"""Of the accurate step that more than one Euler step may make: the error in time stays a small part of that in space."""
ENERGY_MAX = "energy_max"
"""Key of the largest Euler step for the energy, as found in the last step, in the arrays of a state."""
ROUNDOFF = 1e-9
"""Relative, of a number of Euler steps: a step of nine times the limit takes nine of them."""


class Moved(NamedTuple):
    """A step of the transport. density : at its end; energy : −dt·D₀; low : least density of all stages; limit : on the next dt;
    energy_max : on the next h, by the energy; work : of the cross fluxes of a viscosity, where it raises the energy."""

    density: Array
    energy: float
    low: float
    limit: float
    energy_max: float
    work: float


class Stages:
    """Steps of the transport. euler_max : most Euler steps in one."""

    def __init__(self, transport: Transport, drive: Drive, limits: Limits, stages_max: int) -> None:
        self.transport, self.drive, self.limits, self.euler_max = transport, drive, limits, stages_max - 1

    def at(self, transport: Transport) -> Self:
        """The same with another transport."""
        other = copy(self)
        other.transport = transport
        return other

    def most(self, viscosity: Viscosity | None) -> int:
        """Most Euler steps in one with this viscosity."""
        return self.euler_max if viscosity is None else HEUN - 1

    def advance(self, start: Point, state: State, dt: float, viscosity: Viscosity | None = None) -> tuple[Moved | None, float]:
        """(the step dt from `start`, _) or (None, the step to try next). state : that before the split terms."""
        outflow = self.transport.outflow(start.density.reshape(self.transport.view), start.evaluation)
        dt_positive = self.limits.positivity(outflow)
        count = self.euler_steps(state, dt, dt_positive, viscosity)
        if dt / count * self.limits.cfl > dt_positive:
            return None, count * dt_positive
        return self.advance_by(count, start, state, dt, dt_positive, viscosity)

    def advance_by(
        self, count: int, start: Point, state: State, dt: float, dt_positive: float, viscosity: Viscosity | None
    ) -> tuple[Moved | None, float]:
        """The same by so many Euler steps, or more where the energy needs them."""
        shape, view, level = start.density.shape, self.transport.view, state.reports.get("noise_level", 0.0)
        rho0, evaluation, h = start.density.reshape(view), start.evaluation, dt / count
        rho, buffers, swept, dt_energy = rho0, (np.empty_like(rho0), np.empty_like(rho0)), [], np.inf
        for i in range(count + 1):
            if i > 0:
                time = state.time + i * h
                evaluation = self.drive.evaluate(rho.reshape(shape), time, self.drive.level_later(time, level))
            share, out = EULER if i < count else count / (count + 1), buffers[i % 2]
            base = rho0 if i in (1, count) else rho  # what others measure against it is not looked at
            potential = evaluation.potential.reshape(view)
            swept.append(self.transport.stage(out, base, rho, potential, h, evaluation.diffusivity, share, viscosity))
            rho = out
            if i == 1:
                dt_energy = self.limits.energy(h, *decrease_and_bend(swept), start.evaluation.roundoff)
                if h * ENERGY_SAFETY > dt_energy:
                    more = steps_of(dt, dt_energy) if dt_energy > 0 else np.inf
                    if more > self.most(viscosity):
                        return None, self.most(viscosity) * dt_energy
                    return self.advance_by(int(more), start, state, dt, dt_positive, viscosity)
            if swept[-1].low < 0:
                return None, dt / 2
        energy = count * swept[0].moved
        last = (swept[-1].moved + (1 - share) * swept[-1].moved_before) / share  # −h·D₁: h·L(ρ) = (ρ' − (1 − share)ρ₀)/share − ρ
        beside = count * swept[0].kinks - energy, count * (swept[-1].kinks / share - last)  # kinks with a viscosity
        dt_accurate = self.limits.accuracy(dt, *beside)
        if dt_accurate < dt / 2:
            return None, dt_accurate
        largest = min(dt_positive, dt_energy)
        limit = max(min(largest, dt_accurate), min(self.most(viscosity) * largest, SHARE_OF_MANY * dt_accurate))
        limit = min(limit, max(GROWTH_MAX * dt, state.dt))
        work = share * max(0.0, swept[0].work) + max(0.0, swept[-1].work)  # of two stages, where there is any
        return Moved(rho.reshape(shape), energy, min(s.low for s in swept), limit, dt_energy, work), dt

    def euler_steps(self, state: State, dt: float, dt_positive: float, viscosity: Viscosity | None = None) -> int:
        """s − 1 for a step dt: as few Euler steps as their limits admit, and no more than `most`."""
        largest = min(dt_positive, float(state.arrays.get(ENERGY_MAX, np.inf)))
        if state.arrays:
            largest = self.limits.curvature(largest, Curvature.of_arrays(state.arrays).step_max)
        return int(np.clip(steps_of(dt, largest), 1, self.most(viscosity)))


def steps_of(dt: float, largest: float) -> float:
    """How many steps of at most this length dt takes."""
    return float(np.ceil(dt / largest * (1 - ROUNDOFF)))


def decrease_and_bend(swept: list[Swept]) -> tuple[float, float]:
    """h·D₀ and h²·D²E[ρ̇, ρ̇], from the potentials at both ends of the first Euler step."""
    return -swept[0].moved, swept[1].moved_before - swept[0].moved
