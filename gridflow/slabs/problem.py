"""A problem on slabs: what may be cut, and what stays whole."""

from dataclasses import replace

from gridflow.case.case import Case
from gridflow.errors import require
from gridflow.problem import Problem
from gridflow.slabs.ranks import Ranks
from gridflow.slabs.slab import slab_of

ALONE = "run it without mpiexec"


def cut_problem(case: Case, problem: Problem, ranks: Ranks | None) -> Problem:
    """The problem on the slab of this rank; the same without ranks. Raises InputError for what does not come in slabs."""
    if ranks is None:
        return problem
    scheme = case.scheme
    received = f"{ranks.size} ranks with {scheme.label}"
    require(scheme.ghosts is not None, received, 'scheme.kind = "finite-volume" or "jko"', ALONE)
    assert scheme.ghosts is not None
    reason = scheme.not_in_slabs()
    allowed = "finite volumes without sliding and heat semigroup, and JKO steps by the quasi-Newton iteration"
    require(reason is None, f"{ranks.size} ranks with {reason}", allowed, f"do so, or {ALONE}")
    energies = "networks, potentials, interactions and MMDs by products of kernels, and sums of them"
    others = [type(part).__name__ for part in problem.energy.summands or (problem.energy,) if not part.slabs]
    require(not others, f"{ranks.size} ranks with {', '.join(others)}", energies, ALONE)
    cut = replace(problem, grid=slab_of(problem.grid, ranks, scheme.ghosts))
    unfit = [term.stated for term in cut.terms if not term.slabs]
    allowed = "transport, a temperature and a reaction"
    require(not unfit, f"{ranks.size} ranks with {', '.join(unfit)}", allowed, f"remove it, or {ALONE}")
    require(cut.bound.slabs, f"{ranks.size} ranks with {cut.bound.label}", energies, ALONE)
    return cut
