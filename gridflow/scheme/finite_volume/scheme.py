"""Finite volumes as a case names them (`gridflow.scheme.finite_volume.stepper` has the method)."""

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from gridflow.errors import require
from gridflow.flow.flow import KEYS
from gridflow.problem import DRIVE, Problem
from gridflow.scheme.finite_volume.implicit_stepper import ImplicitStepper
from gridflow.scheme.finite_volume.internal_stepper import InternalStepper, splits_internal
from gridflow.scheme.finite_volume.sliding import check_sliding
from gridflow.scheme.finite_volume.stepper import FiniteVolumeStepper
from gridflow.slabs.slab import GHOSTS


class FiniteVolume(Struct, frozen=True, forbid_unknown_fields=True, tag="finite-volume", tag_field="kind"):
    """Finite volumes. Numbers are dimensionless.

    order : in space; cfl : share of the step that keeps densities positive
    accuracy : of steps, 1 for errors in time below those in space, smaller for shorter steps
    diffusion : how a temperature acts, implicitly, by fitted fluxes or by the heat semigroup
    sliding : whether mass slides along kinks of ξ oblique to the grid
    """

    order: Literal[1, 2] = 2
    cfl: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.9
    accuracy: Annotated[float, Meta(gt=0.0)] = 1.0
    diffusion: Literal["implicit", "scharfetter-gummel", "heat-semigroup"] = "implicit"
    sliding: bool = False

    label: ClassVar[str] = "finite volumes, SSP-RK2"
    knows: ClassVar[frozenset[str]] = KEYS | {DRIVE}
    step_key: ClassVar[str | None] = None  # steps follow from the accuracy
    ghosts: ClassVar[int | None] = GHOSTS

    def not_in_slabs(self) -> str | None:
        """What keeps this scheme from slabs of a grid, and what to write instead."""
        if self.sliding:
            return "scheme.sliding = true: remove it"
        return 'scheme.diffusion = "heat-semigroup": use "implicit"' if self.diffusion == "heat-semigroup" else None

    def init(self, problem: Problem) -> FiniteVolumeStepper:
        """Bind to a problem. Raises InputError for a combination that this scheme cannot do."""
        problem.check(self.knows, "finite volumes", "remove it")
        law = problem.bound.local
        received = "finite volumes with an internal energy that is infinite at some densities"
        require(law is None or law.finite, received, "laws whose U is finite", 'use scheme.kind = "jko"')
        if self.sliding:
            fitted = problem.temperature > 0 and self.diffusion == "scharfetter-gummel"
            check_sliding(problem.grid, self.order, fitted)
        numbers = problem, self.order, self.cfl, self.accuracy, self.sliding
        if self.diffusion == "implicit" and not self.sliding and splits_internal(problem):
            return InternalStepper(*numbers[:-1])
        if any(term.diffuses for term in problem.terms) and self.diffusion == "implicit":
            return ImplicitStepper(*numbers)
        varies = any(m.size > 1 for m in problem.grid.mobility)
        unfit = problem.temperature > 0 and self.diffusion == "heat-semigroup" and varies
        received = 'scheme.diffusion = "heat-semigroup" with a mobility that depends on another factor'
        require(not unfit, received, "constant mobilities", 'use diffusion = "implicit"')
        return FiniteVolumeStepper(*numbers, fitted=self.diffusion != "heat-semigroup")
