"""What every scheme shares: the state that it carries from step to step, and what the time loop calls."""

from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from gridflow.energy.base import Evaluation
from gridflow.space.factor import Array


@dataclass(frozen=True)
class State:
    """What a scheme carries from step to step: plain arrays and numbers, enough to restart.

    density : shape of the grid; time, dt (proposed next step) : mean-field time; evaluation : of the energy at the density, which
    a restart computes again; free_energy : the value that decreases; entropy : ∫ρ log ρ where it is part of that;
    dissipation : −dE/dt during the step, cheaply measured;
    density_min : smallest density so far; rise : largest increase of the energy in a step so far; rise_roundoff : largest
    round-off allowed for it; unconverged : steps so far that ended before their tolerance; arrays, reports : whatever else a
    scheme needs to go on, numbers of a save among them.
    """

    density: Array
    time: float
    dt: float
    evaluation: Evaluation
    free_energy: float
    dissipation: float = np.nan
    density_min: float = 0.0
    rise: float = 0.0
    rise_roundoff: float = 0.0
    unconverged: float = 0.0
    arrays: dict[str, Array] = field(default_factory=dict)
    reports: dict[str, float] = field(default_factory=dict)
    entropy: float = 0.0

    def at(self, temperature: float) -> "State":
        """The same with the free energy of another temperature."""
        return replace(self, free_energy=self.evaluation.value + temperature * self.entropy)


class Stepper(Protocol):
    """A scheme bound to a problem."""

    @property
    def energy_decreases(self) -> bool:
        """Whether the (free) energy is claimed never to increase but for round-off, and "viscous_work" where it is reported.

        Where the flow is annealed, that with the mean temperature of every step (`gridflow.flow.temperature`).
        """

    @property
    def reports(self) -> tuple[str, ...]:
        """Names of `gridflow.output.schema.RECORDS` that it adds to every save."""

    @property
    def conserves_mass(self) -> bool:
        """Whether the loop may hold every step to the conservation of mass."""

    def start(self, density: Array, time: float = 0.0, dt: float = np.inf) -> State:
        """The state of a density."""

    def step(self, state: State, dt_max: float, interval: float = np.inf) -> State:
        """One accepted step of at most dt_max; `interval` is the time between the saves around it."""

    def dissipation(self, density: Array, evaluation: Evaluation, time: float = 0.0) -> float:
        """−dE/dt of the flow discrete in space, at the temperature of a time."""

    def report(self, state: State) -> dict[str, float]:
        """The numbers of `reports` at a save."""

    def warnings(self, state: State) -> list[str]:
        """What makes the result doubtful, judged by its last state, a sentence each."""
