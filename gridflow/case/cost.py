"""What a run will need: cells, memory and time per step of a case, before it runs.

Measured rather than modelled: the scheme takes a few steps with the same energy on two grids of the same space with few cells,
here and now, from the uniform density. The time of a step and the memory (largest sum of NumPy arrays, by `tracemalloc`) are
extrapolated as a + b·n_cells, which is what finite volumes and networks cost. Features are stored up to a budget only
(`gridflow.energy.network.features`), so that the memory may be overestimated; large fields leave the caches, so that the time
may be underestimated by a factor of about two. Grids of few cells are not measured: nothing about them must be planned.
"""

import time
import tracemalloc
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gridflow.case.case import Case
from gridflow.errors import InputError, SolveError
from gridflow.memory import bytes_text, memory_limit
from gridflow.scheme.base import Stepper
from gridflow.scheme.finite_volume.scheme import FiniteVolume
from gridflow.slabs.slab import CELLS_MIN as CELLS_PER_RANK
from gridflow.slabs.slab import cut_axis, lines_that_move
from gridflow.space.factor import Array

SMALL, LARGE = 2**13, 2**16
"""Cells of the grids that are measured: milliseconds per step, and not all of them overhead."""
CELLS_MIN = 6
"""Cells of a line of these grids, at least."""
STEPS = 5
RANKS = (2, 16, 128)
"""Of which the memory is said."""
WRITING = 3
"""Whole densities that the process that writes holds for a save: the density, its record, and the volumes of the cells."""


@dataclass(frozen=True)
class Cost:
    """Memory and time of a run.

    shape : cells by factor; run_bytes : of the arrays of a run; step_seconds : of one step; measured : cells of the grids that
    both were measured on; problem : why they were not; cell_bytes : of the arrays of a run, per cell; cut : the factor that an
    mpiexec has cut into slabs, with its cells, none where this scheme does not come in slabs; ghosts : cells of a neighbour
    """

    shape: dict[str, int]
    run_bytes: float = np.nan
    step_seconds: float = np.nan
    measured: tuple[int, ...] = ()
    problem: str = ""
    cell_bytes: float = np.nan
    cut: tuple[str, int] = ("", 0)
    ghosts: int = 0

    def lines(self) -> list[str]:
        """Sentences for `gridflow show`."""
        cells = int(np.prod(list(self.shape.values())))
        sizes = " × ".join(f"{name} {size}" for name, size in self.shape.items())
        grid = f"grid: {sizes} = {cells} cells" if len(self.shape) > 1 else f"grid: {sizes} cells"
        lines = [f"{grid}; a density takes {bytes_text(8 * cells)}"]
        if self.measured:
            held, takes = bytes_text(self.run_bytes), seconds_text(self.step_seconds)
            lines.append(f"a run holds about {held} of arrays, and a step takes about {takes}:")
            lines.append(f"continued from steps on {' and '.join(map(str, self.measured))} cells, just now on this machine")
            lines += self.plan(cells)
        if self.problem:
            lines.append(f"memory and time per step of a run are not known: {self.problem}")
        return lines

    def plan(self, cells: int) -> list[str]:
        """Sentences on what fits into this machine, and what an mpiexec needs."""
        room = memory_limit()
        lines = [f"up to about {room / self.cell_bytes:.0e} cells fit into the {bytes_text(room)} of this machine"]
        name, size = self.cut
        most = size // CELLS_PER_RANK
        counts = [count for count in RANKS if count <= most]
        if not counts:
            return lines
        held = [self.run_bytes / count * (1 + 2 * self.ghosts * count / size) for count in counts]
        by_rank = ", ".join(f"{bytes_text(each)} on each of {count} ranks" for count, each in zip(counts, held, strict=True))
        slabs = f"mpiexec -n P cuts it into slabs along {name}, up to {most}: about {by_rank}"
        return [*lines, f"{slabs}; the first one holds {bytes_text(WRITING * 8 * cells)} more while it saves"]


def seconds_text(number: float) -> str:
    """A time with its unit, two digits."""
    return f"{float(f'{number:.2g}'):g} s" if number >= 1 else f"{float(f'{1e3 * number:.2g}'):g} ms"


def cost_of(case: Case) -> Cost:
    """What a case needs, measured. Raises InputError for a space that is wrong."""
    grid = case.grid()
    shape = dict(zip(grid.order, grid.shape, strict=True))
    if grid.size <= LARGE:
        return Cost(shape)
    if not isinstance(case.scheme, FiniteVolume):
        return Cost(shape, problem=f"they are measured for finite volumes, not for {case.scheme.label}")
    try:
        samples = [measured_steps(small_case(case, target)) for target in (SMALL, LARGE)]
    except (InputError, SolveError) as error:  # a grid of few cells may be too coarse for an energy: show the case all the same
        return Cost(shape, problem=str(error).splitlines()[0])
    cells, run_bytes, seconds = np.array(samples).T
    memory, step_seconds = (extrapolation(cells, values, grid.size) for values in (run_bytes, seconds))
    ghosts = case.scheme.ghosts if case.scheme.not_in_slabs() is None else None
    axis = cut_axis(grid) if ghosts is not None and lines_that_move(grid) else None
    cut = ("", 0) if axis is None else (grid.order[axis], grid.shape[axis])
    return Cost(shape, memory, step_seconds, tuple(int(n) for n in cells), "", memory / grid.size, cut, ghosts or 0)


def extrapolation(cells: Array, values: Array, size: int) -> float:
    """a + b·size from two samples; in proportion to the larger one where noise hides the increase."""
    slope = (values[1] - values[0]) / (cells[1] - cells[0])
    return float(values[1] + slope * (size - cells[1]) if slope > 0 else values[1] * size / cells[1])


def small_case(case: Case, target: int) -> Case:
    """The case on about so many cells: lines in proportion, surfaces to level 2 at most, labels as they are."""
    sizes = case.resolution()
    lines = {key: size for key, size in sizes.items() if key.endswith("cells")}
    case = case.replace({key: min(2, size) for key, size in sizes.items() if key not in lines})
    share = (target / case.grid().size) ** (1 / max(1, len(lines)))
    return case.replace({key: max(CELLS_MIN, round(size * share)) for key, size in lines.items()})


def measured_steps(case: Case) -> tuple[int, float, float]:
    """(cells, bytes, seconds per step) of a few steps from the uniform density."""
    problem = case.problem()
    grid = problem.grid

    def first_step() -> tuple[Stepper, Any]:
        stepper = case.scheme.init(replace(problem))  # binds the energy anew
        return stepper, stepper.step(stepper.start(np.full(grid.shape, 1 / grid.volume.sum())), case.time.stop)

    stepper, state = first_step()  # compiles, or reads what was compiled
    times = []
    for _ in range(STEPS):
        began = time.perf_counter()
        state = stepper.step(state, case.time.stop)
        times.append(time.perf_counter() - began)
    tracemalloc.start()
    try:
        first_step()
        peak = tracemalloc.get_traced_memory()[1] + grid.volume.nbytes
    finally:
        tracemalloc.stop()
    return grid.size, float(peak), float(np.median(times))
