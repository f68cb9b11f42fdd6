"""[validation] of a case: the quantities that a verdict compares, and the largest errors that it tolerates."""

from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import asdict


class Threshold(Struct, frozen=True, forbid_unknown_fields=True):
    """The largest error that a case tolerates in a quantity. threshold : the error; reason : why"""

    threshold: Annotated[float, Meta(gt=0.0)]
    reason: Annotated[str, Meta(min_length=1)]


class Validation(Struct, frozen=True, forbid_unknown_fields=True):
    """Quantities of a case that are validated, with their thresholds.

    times : so many of its saves are judged, denser at the start

    w1, w2, moments : of the marginal along every interval and circle; the moments are mean and deviation, on a circle or a
        surface the first harmonics; sliced_w1, energy_distance : in the full space, of the latter its root;
    energy : without the entropy;
    prediction : root mean square over the data; mass : |log| of the ratio of the total masses, which reactions change

    Distances and moments are those of the measures divided by their mass.

    diagnostics : by name, the largest values that the energy's own numbers (`BoundEnergy.diagnostics`) may have at the end
    """

    w1: Threshold | None = None
    w2: Threshold | None = None
    sliced_w1: Threshold | None = None
    energy_distance: Threshold | None = None
    moments: Threshold | None = None
    energy: Threshold | None = None
    prediction: Threshold | None = None
    mass: Threshold | None = None
    diagnostics: dict[str, Threshold] = {}
    times: Annotated[int, Meta(ge=1, le=100)] = 5

    def thresholds(self) -> dict[str, Threshold]:
        """Thresholds that the case gives, by kind of quantity."""
        return {name: limit for name, limit in asdict(self).items() if isinstance(limit, Threshold)}
