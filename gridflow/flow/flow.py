"""The flow of a case: its terms beside the transport by the first variation, as data, and the registry of these terms."""

from collections.abc import Collection
from typing import Annotated, Any

from msgspec import Meta, Struct, field

from gridflow.errors import InputError
from gridflow.flow.diffusion import Diffusion
from gridflow.flow.mobility import Mobility
from gridflow.flow.noise import NoiseInjection, NoiseTerm
from gridflow.flow.reaction import Reaction, ReactionTerm
from gridflow.flow.schedule import Schedule
from gridflow.flow.temperature import Temperature
from gridflow.flow.term import FlowTerm
from gridflow.space.grid import Grid

TERMS: tuple[type[FlowTerm[Any]], ...] = (ReactionTerm, Diffusion, Temperature, NoiseTerm)
"""In the order of the half steps before the transport; those after it come in the reverse order."""
KEYS = frozenset(term.key for term in TERMS)
"""Keys of all terms: the `knows` of a scheme that moves densities by the contract of `FlowTerm` alone."""


class Flow(Struct, frozen=True, forbid_unknown_fields=True):
    """Terms of the flow beside the energy.

    temperature : D, adds D·Δρ; reaction : adds −κ(ξ_F − ξ̄)ρ; mobility : M by factor; noise_injection : of MMD flows
    diffusion : by factor, adds D_k ∂²ρ/∂θ_k² along it alone, whatever its mobility: no part of the energy, which may then rise
    annealing : how the temperature falls from D at the start (`gridflow.flow.temperature`); without it D is constant
    """

    temperature: Annotated[float, Meta(ge=0.0)] = 0.0
    reaction: Reaction = field(default_factory=Reaction)
    mobility: dict[str, Mobility] = {}
    diffusion: dict[str, Annotated[float, Meta(ge=0.0)]] = {}
    noise_injection: NoiseInjection = field(default_factory=NoiseInjection)
    annealing: Schedule | None = None

    def __post_init__(self) -> None:
        if self.annealing is not None:
            self.annealing.check(self.temperature, "annealing: temperature")
            if self.noise_injection.acts:
                raise ValueError("annealing beside noise_injection; use one of them")

    def temperature_at(self, time: float) -> float:
        """D at a time."""
        return self.temperature if self.annealing is None else self.annealing.at(self.temperature, time)

    def mean_temperature(self, first: float, last: float) -> float:
        """The mean of D between two times: that of a step (`gridflow.flow.temperature`)."""
        return self.temperature if self.annealing is None else self.annealing.mean(self.temperature, first, last)

    def terms(self, grid: Grid) -> tuple[FlowTerm[Any], ...]:
        """The terms that act, on a grid. Raises InputError for one that the grid does not admit."""
        every = (kind(getattr(self, kind.key), self.temperature, grid) for kind in TERMS)
        terms = tuple(term for term in every if term.acts)
        check_drive(any(term.drives for term in terms), terms)
        return terms


def check_drive(driven: bool, terms: tuple[FlowTerm[Any], ...]) -> None:
    """Raises InputError for a term that follows ξ in a flow that something else drives."""
    for term in terms:
        if driven and term.weighs:
            raise InputError(f"{term.stated} in a flow that ξ does not drive", "one of the two", f"remove flow.{term.key}")


def check_terms(terms: tuple[FlowTerm[Any], ...], knows: Collection[str], what: str, fix: str) -> None:
    """Raises InputError for a term that a scheme or an integrator does not admit.

    knows : keys of those that it admits; what : its name; fix : what to write instead
    """
    for term in terms:
        if term.key not in knows:
            admitted = " and ".join(sorted(knows)) or "transport alone"
            raise InputError(f"{what} with {term.stated}", f"of [flow] {admitted}", fix)
