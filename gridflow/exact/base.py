"""Exact solutions: cell masses at any time, for tests and for the errors in a dataset.

Each class names one solution that a case may claim under [exact]; it checks that the problem is the one it solves. Where the
solution is an ordinary differential equation, later times continue from earlier ones.
"""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, TypeVar

import numpy as np
from msgspec import Struct

from gridflow.energy.base import Energy
from gridflow.errors import SolveError, require
from gridflow.problem import Problem
from gridflow.space.factor import Array
from gridflow.space.mixture import CUT_MAX

EnergyKind = TypeVar("EnergyKind", bound=Energy)


class Exact(Struct, frozen=True, forbid_unknown_fields=True):
    """An exact solution of some cases.

    needs : what it requires of a case, for messages; knows : keys of the terms of a flow that it contains
    anneals : whether it contains a temperature that falls
    """

    needs: ClassVar[str]
    knows: ClassVar[frozenset[str]] = frozenset()
    anneals: ClassVar[bool] = False

    def solution(self, problem: Problem) -> Callable[[float], Array]:
        """t ↦ cell masses, shape of the grid. Raises InputError for a case that it does not solve."""
        self.require(all(term.key in self.knows for term in problem.terms) and (self.anneals or not problem.annealed))
        return self.solution_of(problem)

    def solution_of(self, problem: Problem) -> Callable[[float], Array]:
        """The same for a problem without terms that it does not contain."""
        raise NotImplementedError

    def check(self, problem: Problem, times: Iterable[float]) -> None:
        """Raises InputError for times at which it is no solution, before a run that will ask for them."""

    def masses(self, problem: Problem, times: list[float]) -> Array:
        """Cell masses at the times, (n_times, *shape of the grid). Raises InputError for a case that it does not solve."""
        at = self.solution(problem)
        return np.stack([at(t) for t in times])

    def require(self, condition: bool) -> None:
        """Raises InputError unless the condition, a part of what it needs, holds."""
        received = f'exact solution "{self.__struct_config__.tag}" for this case'
        require(condition, received, self.needs, "remove [exact], or change the case")

    def require_inside(self, cut: float, time: float) -> None:
        """Raises InputError where walls, which a solution on the whole space does not know, cut off too much of its mass."""
        received = f'exact solution "{self.__struct_config__.tag}": {cut:.2g} of its mass is beyond the walls at time {time:g}'
        fix = "widen the bounds of the space, stop earlier, or remove [exact]: it knows no walls"
        require(cut <= CUT_MAX, received, f"at most {CUT_MAX:g}", fix)

    def energy_of(self, problem: Problem, kind: type[EnergyKind]) -> EnergyKind:
        """The energy of a problem. Raises InputError for another kind."""
        self.require(isinstance(problem.energy, kind))
        assert isinstance(problem.energy, kind)
        return problem.energy


class Trajectory:
    """The solution of an autonomous ODE from time 0 on, to round-off for our purposes. Later times continue from the last one."""

    def __init__(self, rate: Any, start: list[float] | Array) -> None:
        self.rate, self.start = rate, np.asarray(start, dtype=float)
        self.time, self.state = 0.0, self.start

    def at(self, time: float) -> Array:
        """The state at a time."""
        if time < self.time:
            self.time, self.state = 0.0, self.start
        if time > self.time:
            span = (0.0, time - self.time)
            from scipy.integrate import solve_ivp

            solution = solve_ivp(self.rate, span, self.state, t_eval=span[1:], method="DOP853", rtol=1e-12, atol=1e-14)
            if not solution.success:
                raise SolveError(f"the exact solution could not be computed up to time {time:g}: {solution.message}")
            self.time, self.state = time, solution.y[:, -1]
        return self.state
