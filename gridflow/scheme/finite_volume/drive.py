"""What moves the mass of a problem: ξ, or with noise injection the potential of `gridflow.flow.noise_on_grid`."""

import numpy as np

from gridflow.energy.base import Evaluation
from gridflow.flow.noise_on_grid import Injection
from gridflow.problem import Problem
from gridflow.scheme.finite_volume.curvature import Linearised
from gridflow.scheme.finite_volume.transport import EULER, Transport
from gridflow.space.factor import Array


class Drive:
    """Evaluations of an energy with what drives the flow, which with noise depends on the time and the level of the noise."""

    def __init__(self, problem: Problem, transport: Transport) -> None:
        self.problem, self.transport, self.noise = problem, transport, problem.flow.noise_injection
        acts = self.noise.acts
        self.injection = Injection(self.noise, problem.grid, problem.bound, self.falls, self.change) if acts else None

    @property
    def reports(self) -> tuple[str, ...]:
        """Names of the numbers of a save."""
        return () if self.injection is None else self.injection.reports

    def numbers(self, density: Array, reports: dict[str, float]) -> dict[str, float]:
        """Those numbers, from the reports of a state."""
        return {} if self.injection is None else self.injection.numbers(density, reports["noise_level"])

    def falls(self, density: Array, xi: Array, drive: Array) -> float:
        """−dF/dt where `drive` moves the mass."""
        return self.transport.dissipation(density, Evaluation(0.0, xi, 0.0, drive=drive))

    def change(self, density: Array, drive: Array) -> Array:
        """∂ρ/∂t where `drive` moves the mass."""
        after = np.empty(self.transport.view)
        rho = density.reshape(after.shape)
        self.transport.stage(after, rho, rho, drive.reshape(after.shape), 1.0, share=EULER)
        return after.reshape(density.shape) - density

    def evaluate(self, density: Array, time: float = 0.0, level: float = 0.0) -> Evaluation:
        """The energy at a density, with noise what drives the flow. Raises SolveError if one of them is not finite."""
        if self.injection is None:
            return self.problem.evaluate(density)
        evaluation = self.problem.bound.evaluate(density * self.problem.grid.volume)
        return self.problem.finite(self.injection.evaluation_with_drive(density, evaluation, time, level))

    def level(self, density: Array, time: float) -> dict[str, float]:
        """The report of a new state: the level of its noise."""
        if self.injection is None:
            return {}
        adapts = self.noise.adapts
        plain = self.problem.bound.evaluate(density * self.problem.grid.volume) if adapts else Evaluation(0.0, density, 0.0)
        return {"noise_level": self.injection.choose(density, plain, time)}

    def level_later(self, time: float, level: float) -> float:
        """The level at the end of a step: that of the schedule; an adaptive one stays."""
        return self.noise.at(time) if self.noise.acts and not self.noise.adapts else level

    def linearised(self, density: Array, time: float, level: float) -> Linearised:
        """The flow linearised around a density: upwind fluxes of ψ and of −ψ, whose mean has the mean density at each face."""
        view, problem = self.transport.view, self.problem
        rho = density.reshape(view)

        def moves(potential: Array) -> Array:
            psi, ahead, back = potential.reshape(view), np.empty(view), np.empty(view)
            self.transport.first_order(ahead, rho, psi)
            self.transport.first_order(back, rho, -psi)
            moved: Array = problem.grid.exchange(0.5 * (back - ahead).reshape(potential.shape))
            for term in problem.terms:
                response = term.response(density, potential)
                moved = moved if response is None else moved - response
            return moved

        def variation(other: Array) -> Array:
            return self.evaluate(other, time, level).potential

        return Linearised(moves, variation, density, problem.grid, problem.keeps_mass)
