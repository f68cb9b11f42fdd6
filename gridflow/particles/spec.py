"""What a case says about its particle runs."""

from typing import Annotated

from msgspec import Meta, Struct, field

from gridflow.particles.cloud import Sampling
from gridflow.particles.integrator import IntegratorSpec, RungeKutta2

Count = Annotated[int, Meta(ge=2, le=10_000_000)]


class VerdictRuns(Struct, frozen=True, forbid_unknown_fields=True):
    """The ensembles that a verdict rests on: scrambled Sobol points are as independent of each other as random ones, and far
    closer to the density, so that the verdict is sharper.

    count : particles of each; ensembles : their number; sampling : of the starts
    """

    count: Count = 4096
    ensembles: Annotated[int, Meta(ge=8, le=1000)] = 12
    sampling: Sampling = "sobol"


class Particles(Struct, frozen=True, forbid_unknown_fields=True):
    """The particle runs of a case.

    counts : N of the random runs that show the sampling error of a particle run, increasing; ensembles : independent runs of each
    integrator : of all runs; verdict : the runs that a verdict rests on; seed : of the random starts
    """

    counts: Annotated[list[Count], Meta(min_length=3)]
    integrator: IntegratorSpec = field(default_factory=lambda: RungeKutta2(0.05))
    ensembles: Annotated[int, Meta(ge=8, le=1000)] = 32
    verdict: VerdictRuns = field(default_factory=VerdictRuns)
    seed: Annotated[int, Meta(ge=0)] = 1

    def __post_init__(self) -> None:
        if sorted(set(self.counts)) != self.counts or self.counts[-1] < 8 * self.counts[0]:
            raise ValueError(f"counts {self.counts} do not increase to at least eight times the first: too few for a rate")
