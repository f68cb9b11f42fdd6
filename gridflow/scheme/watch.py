"""What a run on the grid does for an energy of one's own beside solving: names it, compares its numbers, watches the balance."""

from typing import Any

from gridflow.energy.base import Energy
from gridflow.energy.own import identity_of, is_compared
from gridflow.energy.sum import bound_parts
from gridflow.errors import InputError, require
from gridflow.problem import Problem
from gridflow.scheme.balance import Balance
from gridflow.scheme.base import State, Stepper

SAME = 1e-9
"""Relative difference of an energy from itself, evaluated again: far above round-off, far below that of another energy. Energies
near 0 may differ by the round-off of both evaluations."""


class Watch:
    """identity : attributes that name the energy, none where it is that of the case; check : see `gridflow.energy.check`;
    balance : see `gridflow.scheme.balance`. The last two are None for energies of gridflow.

    energy : as it was given, or None; compare : whether its numbers are compared at the start
    """

    def __init__(self, problem: Problem, energy: Energy | None, compare: bool) -> None:
        self.problem = problem
        self.identity = {} if energy is None else identity_of(energy, bound_parts(problem.bound))
        self.check = problem.check_energy() if compare else None
        self.balance: Balance | None = None

    def begin(self, stepper: Stepper) -> None:
        """A run has its scheme."""
        if is_compared(self.problem.energy):
            smooth = self.problem.bound.smooth
            self.balance = Balance(stepper, self.problem.flow.temperature, self.problem.grid.volume, smooth)

    def start(self, state: State) -> None:
        """A run starts in a state."""
        if self.balance is not None:
            self.balance.start(state)

    def after_step(self, before: State, after: State) -> None:
        """A step is done."""
        if self.balance is not None:
            self.balance.after_step(before, after)

    def after_save(self, state: State) -> None:
        """A state is saved."""
        if self.balance is not None:
            self.balance.after_save(state)

    def attributes(self) -> dict[str, str]:
        """What the dataset says of the comparison."""
        return {} if self.check is None else {"energy_check": self.check.text}

    def warnings(self) -> list[str]:
        """What speaks against the energy, a sentence each."""
        checked = [] if self.check is None or not self.check.doubtful else [self.check.text]
        return checked + ([] if self.balance is None else self.balance.warnings())

    def numbers(self) -> dict[str, Any]:
        """What `resume` needs."""
        return {"identity": self.identity, "balance": None if self.balance is None else self.balance.numbers()}

    def resume(self, before: dict[str, Any], state: State, saved: float, anew: str) -> None:
        """Goes on from the numbers of an interrupted run, in the state of its last step, evaluated again.

        saved : its energy then. Raises InputError for an energy of another class or source, or with other numbers.
        """
        identity = before.get("identity", {})
        now, then = (who.get("energy_class", "that of the case") for who in (self.identity, identity))
        changed = ", whose source has changed" if now == then else ""
        fix = f"resume with the energy of the interrupted run, or {anew}"
        if self.identity != identity:
            raise InputError(f"--resume with the energy {now} of a run with the energy {then}{changed}", "the same energy", fix)
        value, roundoff, _ = self.problem.at_time(state.time).free_energy(state.density, state.evaluation)
        same = not self.identity or abs(value - saved) <= SAME * abs(saved) + 2 * roundoff
        require(same, f"--resume with an energy that is {value:.9g} where it was {saved:.9g}", "the same energy", fix)
        if self.balance is not None:
            if before.get("balance") is None:  # of a run that did not compare
                self.balance.start(state)
            else:
                self.balance.resume(before["balance"])
