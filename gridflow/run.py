"""One run on the grid, the only time loop: from the start, or from a checkpoint, through all saves to its status.

The loop saves at the times of the case, counts steps, checks each (`gridflow.scheme.guards`), writes checkpoints and shows
progress.
"""

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gridflow.case.case import Case
from gridflow.energy.base import Energy, prediction_of
from gridflow.errors import SolveError, require
from gridflow.interrupts import Held, interruptions
from gridflow.memory import require_disk
from gridflow.output.checkpoint import Checkpoint, Counters
from gridflow.output.dataset import Ending, NoWriter, Record, layout_of
from gridflow.output.kept import UnreadableError
from gridflow.output.layout import Layout
from gridflow.output.remains import ANEW, Remains
from gridflow.output.schema import RECORDS, REPORTS, RESERVED
from gridflow.progress import Progress
from gridflow.restart import CHECKPOINT_SECONDS, restored
from gridflow.run_files import RunFiles
from gridflow.scheme.base import State, Stepper
from gridflow.scheme.guards import check_step, steps_done
from gridflow.scheme.watch import Watch
from gridflow.slabs.problem import cut_problem
from gridflow.space.concentration import concentration_warnings, is_concentrated
from gridflow.space.distances import wasserstein1
from gridflow.space.walls import ON_GRID, bounds_reached, largest_shares, wall_shares, wall_warnings, widest_bounds
from gridflow.sums.choice import Use

if TYPE_CHECKING:
    from gridflow.slabs.ranks import Ranks

FEWER = "save less often (time.save), or use fewer cells or data"


class Run(RunFiles):
    """One run of a case: its parts, and the loop. size : of its records, in bytes; late : a file is begun with a checkpoint."""

    def __init__(
        self,
        case: Case,
        energy: Energy | None,
        path: Path | None,
        remains: Remains | None,
        progress: Progress,
        use: Use,
        held: Held,
        compare: bool = True,
        late: bool = False,
        ranks: "Ranks | None" = None,
    ) -> None:
        self.case, self.path, self.progress, self.use, self.held, self.late = case, path, progress, use, held, late
        began = time.monotonic()
        whole = case.problem(energy)
        problem = cut_problem(case, whole, ranks)
        problem.check_start()
        self.problem, self.grid, self.bound = problem, problem.grid, problem.bound
        self.watch = Watch(problem, energy, compare)
        first = whole.grid.factors[0]
        self.line = first if len(whole.grid.factors) == 1 and first.one_dimensional else None
        self.stepper: Stepper = case.scheme.init(problem)
        self.watch.begin(self.stepper)
        rising = ", ".join(term.stated for term in problem.terms if not term.lowers_energy)
        why = "that ξ does not drive" if problem.driven else f"with {rising}, whose energy may rise"
        why = "whose temperature falls, so that its rest moves" if problem.annealed else why
        may_wait = case.time.steady == 0 or (problem.lowers_energy and not problem.annealed)
        require(may_wait, f"time.steady for a flow {why}", "steady = 0", "remove time.steady")
        self.times = case.time.save_times()
        self.exact = None if case.exact is None else case.exact.solution(whole)
        if case.exact is not None and self.exact is not None:
            case.exact.check(whole, self.times)
        layout = self.layout() if self.grid.writes else Layout({})
        self.size = layout.bytes_per_record * len(self.times)
        if path is not None:
            folder = path.parent
            self.grid.first(lambda: require_disk(f"a result of {len(self.times)} saves", self.size, folder, FEWER))
        self.counters = Counters()
        self.writer = NoWriter(layout)
        self.state = self.beginning(layout, remains)
        self.began = time.monotonic() - self.counters.wall_seconds
        self.checkpoint_due = began + CHECKPOINT_SECONDS
        if remains is not None and remains.extends is not None:
            self.save_checkpoint()

    def layout(self) -> Layout:
        """The dataset without its records."""
        problem, bound = self.problem, self.bound
        layout = layout_of(self.case, self.grid.whole, bound.data, self.records(), self.watch.identity)
        layout.attrs.update({**bound.attributes, **self.watch.attributes()})
        if problem.gibbs is not None:
            why = "the energy is not convex" if problem.keeps_mass else "the mass is free"
            layout.attrs["free_energy_bound"] = "free_energy_gap" if bound.convex and problem.keeps_mass else f"none: {why}"
        return layout

    def beginning(self, layout: Layout, remains: Remains | None) -> State:
        """The state to start from, or to go on from, with the writer; the counters are those of the state."""
        notes = [] if remains is None else list(remains.notes)
        if self.path is not None and remains is not None:
            for checkpoint in remains.checkpoints:
                reopen = partial(self.reopen, self.path, checkpoint, layout, remains.extends)
                try:
                    self.grid.first(reopen)
                except UnreadableError as error:
                    notes.append(str(error))
                    continue
                try:
                    state = restored(checkpoint, self.grid, self.stepper, self.watch)
                except BaseException:
                    self.writer.close()
                    raise
                self.counters = replace(checkpoint.numbers.counters)
                if self.exact is not None:
                    for time_saved in self.times[: self.counters.saved]:  # the same steps as without an interruption
                        self.exact(time_saved)
                self.progress.note("; ".join([*notes, f"goes on from time {state.time:.6g}"]))
                return state
            require(remains.extends is None, f"--resume: {'; '.join(notes)}", "a file as it was written", ANEW)
            if notes:
                self.progress.note("; ".join([*notes, "starts anew"]))
        state = self.stepper.start(self.grid.density(self.problem.start))
        self.counters.mass = self.grid.integrate(state.density)
        self.watch.start(state)
        self.grid.first(partial(self.open, layout))
        return state

    def records(self) -> dict[str, tuple[str, str]]:
        """Units and long names of the numbers of every save, by name."""
        without = REPORTS - {*self.stepper.reports, *self.problem.diagnostics}
        if self.case.exact is None:
            without |= {"error_w1", "error_l1"}
        if self.line is None:  # W1 to the exact solution is computed in one dimension
            without |= {"error_w1"}
        taken = sorted(set(self.bound.diagnostics) & {*RECORDS, *RESERVED})
        require(not taken, f"an energy that records {taken}", "names that no dataset of gridflow has", "rename its diagnostics")
        return {**{n: RECORDS[n] for n in RECORDS if n not in without}, **self.bound.diagnostics}

    @property
    def saved_time(self) -> float:
        """The last saved time; negative where there is none."""
        return self.times[self.counters.saved - 1] if self.counters.saved else -1.0

    def result(self) -> Ending:
        """Runs to the end, or until it stops: what it leaves beside its records."""
        if self.grid.alone:
            return self.outcome()
        with self.held:  # signals are looked at where all ranks do; late ones come to a run that ends
            ending = self.outcome()
            self.held.came.clear()
            return ending

    def outcome(self) -> Ending:
        """The same, whatever signals are held back."""
        status = "completed"
        try:
            for target in self.times[self.counters.saved :]:
                self.step_to(target)
                if self.is_steady():
                    status = "steady"
                    break
                self.save_state()
        except SolveError as error:
            status = f"failed: {error}"
        except KeyboardInterrupt:
            status = "interrupted"
        except MemoryError:
            if self.grid.alone:  # ranks that have what they need do not come to a checkpoint
                with self.held:  # what there is of the run takes no further memory
                    self.save_checkpoint()
            raise
        finally:
            self.progress.close()
        with self.held:
            final = None if self.path is None else self.checkpoint()
            if self.state.time > self.saved_time and (status != "interrupted" or self.in_memory):
                self.save_state()  # the last good state
            return self.ending(status, final)

    @interruptions()
    def step_to(self, target: float) -> None:
        """Steps to the save time `target`, or to a steady state before it. Raises SolveError where no step can follow."""
        counters = self.counters
        interval = target - max(0.0, self.saved_time)
        while self.state.time < target and not self.is_steady():
            if counters.steps >= self.case.time.max_steps:
                raise SolveError(steps_done(counters.steps, counters.last_step, self.state.time, self.case.time.stop))
            left = target - self.state.time
            if self.state.dt * (1 + 1e-9) < left < 2 * self.state.dt:  # two equal steps rather than a long and a tiny one
                left /= 2
            new = self.stepper.step(self.state, left, interval)
            taken = new.time - self.state.time
            if target - new.time <= 1e-14 * target:  # round-off of the sum of the steps
                new = replace(new, time=target)
            change = abs(self.grid.integrate(new.density) / counters.mass - 1)
            first, last = (self.problem.flow.temperature_at(t) for t in (self.state.time, new.time))
            mass_error = check_step(self.state, new, change, self.stepper, first - last)
            with self.held:
                counters.steps += 1
                counters.last_step = taken
                counters.mass_error = max(counters.mass_error, mass_error)
                self.watch.after_step(self.state, new)
                self.state = new
            self.progress.update(new, counters.steps, counters.mass_error)
            due, stop = self.agreed(time.monotonic() > self.checkpoint_due)
            if due:
                with self.held:
                    self.save_checkpoint()
            if stop:
                self.held.came.clear()
                raise KeyboardInterrupt

    def agreed(self, due: bool) -> tuple[bool, bool]:
        """(what the process that writes says, in all of them; whether one has been asked to stop, as a run alone is at once)."""
        if self.grid.alone:
            return due, False
        said = self.grid.largest(np.array([due and self.grid.writes, len(self.held.came) > 0], dtype=float)) > 0
        return bool(said[0]), bool(said[1])

    def is_steady(self) -> bool:
        """Whether the dissipation is below time.steady; the cheap measure of the last step is confirmed before it counts."""
        steady, state = self.case.time.steady, self.state
        if steady == 0 or self.counters.steps == 0 or abs(state.dissipation) > steady:
            return False
        return abs(self.stepper.dissipation(state.density, state.evaluation, state.time)) <= steady

    @interruptions()
    def save_state(self) -> None:
        """Appends a record of the current state."""
        state, grid = self.state, self.grid
        masses = state.density * grid.volume
        numbers = {
            "energy": state.free_energy,
            "dissipation": self.stepper.dissipation(state.density, state.evaluation, state.time),
            "mass": grid.integrate(state.density),
            "boundary_mass": grid.boundary_mass(state.density),
            "density_min": state.density_min,
            "steps": self.counters.steps,
            "time_step": self.counters.last_step,
            **self.stepper.report(state),
        }
        numbers |= self.problem.at_time(state.time).diagnose(state.density, state.evaluation)
        if self.exact is not None:
            exact = self.exact(state.time)
            numbers["error_l1"] = grid.sum(abs(masses - grid.cut(exact)))
            if self.line is not None:
                numbers["error_w1"] = wasserstein1(grid.marginal_masses(state.density, self.line.name), exact, self.line)
        prediction = prediction_of(self.bound, masses, state.evaluation)
        if prediction is not None and self.bound.data is not None:
            prediction = self.bound.data.in_dataset(prediction)
        with self.held:
            self.writer.append(Record(state.time, grid.gather(state.density), prediction, numbers))
            self.look_at_walls()
            self.watch.after_save(state)
            self.counters.saved += 1

    def look_at_walls(self) -> None:
        """Takes down how far the mass of the current state is from the walls, and whether a cell has most of it."""
        state, grid, counters = self.state, self.grid, self.counters
        now, stop = max(0.0, self.saved_time), self.case.time.stop
        temperature = self.problem.flow.mean_temperature(now, stop)
        reached = bounds_reached(grid, state.density, state.evaluation.potential, temperature, stop - now)
        counters.at_walls = largest_shares(wall_shares(grid, state.density), counters.at_walls)
        counters.reached = widest_bounds(reached, counters.reached)
        if not is_concentrated(grid, state.density):
            counters.spread_until = state.time

    def ending(self, status: str, final: Checkpoint | None) -> Ending:
        """Adds the status and the certificates to what was saved; its file is complete, or can be resumed.

        final : of the end; for the complete file, from which a longer run goes on, and where that cannot be written
        """
        claims = self.stepper.energy_decreases
        but = "viscous_work and round-off" if "viscous_work" in self.stepper.reports else "round-off"
        claimed = f"{'at the mean temperature of every step' if self.problem.annealed else 'guaranteed'} up to {but}"
        if status in ("completed", "steady") and self.state.unconverged > 0:
            status = f"unconverged: {self.state.unconverged:.0f} of {self.counters.steps} steps ended before their tolerance"
            status += "; raise scheme.max_iterations, or use a smaller scheme.tau"
        self.counters.wall_seconds = time.monotonic() - self.began
        attrs: dict[str, Any] = {
            "status": status,
            "wall_seconds": self.counters.wall_seconds,
            "mass_error_max": self.counters.mass_error,
            "energy_decreases": claimed if claims else "not claimed by this scheme and energy",
            "energy_rise_max": self.state.rise,
            "energy_roundoff": self.state.rise_roundoff,
            **self.use.attributes,
            **self.grid.attributes,
        }
        if not self.stepper.conserves_mass:
            attrs["mass_free"] = "the reaction changes the mass"
        outer = wall_warnings(self.grid.whole.factors, self.counters.at_walls, ON_GRID, self.counters.reached)
        if outer:
            attrs["mass_at_walls"] = "\n".join(outer)
        until = self.counters.spread_until if isinstance(self.case.time.save, int) else 0.0  # a list may name later times
        narrow = concentration_warnings(self.grid, self.state.density, until)
        if lines := [*outer, *narrow, *self.stepper.warnings(self.state), *self.watch.warnings()]:
            attrs["warnings"] = "\n".join(lines)
        if status == "interrupted" and not self.in_memory:
            self.save_checkpoint()
        return self.grid.first(lambda: self.finished(attrs, status, final))
