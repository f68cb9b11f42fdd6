"""Particle runs of a verdict that last: written down as often as takes 2 % of their time, to go on from after they were killed.

The file has the states at the save times so far and the current one, the states of the random generators, the counts and the
seconds, all as plain arrays and JSON. Grids of a verdict that last have files of their own (`gridflow.solver.solve_compared`).
"""

import time
from pathlib import Path

import numpy as np

from gridflow.output.kept import UnreadableError, read_kept, write_kept
from gridflow.particles.dynamics import Course, Dynamics
from gridflow.restart import CHECKPOINT_SECONDS, checkpoint_interval
from gridflow.space.factor import Array


class RunUnderWay:
    """A particle run with a file; seconds : that it took before it was killed."""

    def __init__(self, path: Path) -> None:
        self.path, self.seconds = path, 0.0
        self.began = time.perf_counter()
        self.due = self.began + CHECKPOINT_SECONDS

    def begin(self, dynamics: Dynamics, course: Course) -> Course:
        """Where the run goes on, with the generators and counts of there: at its start, where no good file is."""
        try:
            arrays, numbers = read_kept(self.path)
        except UnreadableError:
            return course
        dynamics.random.bit_generator.state, dynamics.batches.bit_generator.state = numbers["generators"]
        dynamics.evaluations, dynamics.unconverged, self.seconds = (
            numbers[name] for name in ("evaluations", "unconverged", "seconds")
        )
        *saved, state = (in_layout(arrays[str(k)], fortran) for k, fortran in enumerate(numbers["fortran"]))
        return Course(saved, state, numbers["steps"], None if numbers["at"] is None else tuple(numbers["at"]))

    def after_step(self, dynamics: Dynamics, course: Course) -> None:
        """Writes the file, if it is time."""
        now = time.perf_counter()
        if now < self.due:
            return
        states = [*course.saved, course.state]
        numbers = {
            "generators": [dynamics.random.bit_generator.state, dynamics.batches.bit_generator.state],
            "evaluations": dynamics.evaluations,
            "unconverged": dynamics.unconverged,
            "seconds": self.seconds + now - self.began,
            "steps": course.steps,
            "at": course.at,
            "fortran": [bool(state.flags.fnc) for state in states],
        }
        write_kept(self.path, {str(k): state for k, state in enumerate(states)}, numbers)
        after = time.perf_counter()
        self.due = after + checkpoint_interval(after - now)


def in_layout(array: Array, fortran: bool) -> Array:
    """An array as it lay in memory: sums depend on that to the last bit."""
    return np.asfortranarray(array) if fortran else array
