"""A claim of a source, and what we measured of it.

A claim counts as *shown* when the measured value lies in its band, as *contradicted* when it lies in the band that says the
opposite, and as *not shown* otherwise. Times and speeds have no band: they are *measured*, since they depend on the machine.
"""

import math
from dataclasses import asdict, dataclass

SHOWN, NOT_SHOWN, CONTRADICTED, MEASURED = "shown", "not shown", "contradicted", "measured"


@dataclass(frozen=True)
class Claim:
    """One sentence of a source beside one number of ours. Quantities are dimensionless."""

    name: str
    """Unique, kebab-case, the same in quick and in full runs: "bn-speed-ratio"."""
    source: str
    """Sources and numbers, separated by commas, as in `validation/sources.py`: "S1 Fig. 1". "gridflow" for claims of our own."""
    says: str
    """What the source says, in a sentence of our own."""
    quantity: str
    """What is measured."""
    value: float
    band: tuple[float, float] | None = None
    """The claim counts as shown where band[0] <= value <= band[1]; None for times and speeds."""
    reason: str = ""
    """Why this band: theory, sampling error, resolution."""
    opposite: tuple[float, float] | None = None
    """Where the value contradicts the source; disjoint from `band`."""
    finding: str = ""
    """What we found, where the number alone does not say it: one or two sentences. It must be true of every run."""
    pictures: tuple[str, ...] = ()
    """Names of the pictures written beside, which show it."""

    def __post_init__(self) -> None:
        if self.band is not None:
            if not self.reason:
                raise ValueError(f"claim {self.name}: received a band without its reason; say why it is {self.band}")
            if not self.band[0] <= self.band[1]:
                raise ValueError(f"claim {self.name}: received the band {self.band}; its first number must not exceed its second")
        if self.opposite is not None:
            if self.band is None:
                raise ValueError(f"claim {self.name}: received `opposite` without `band`; give both")
            if max(self.band[0], self.opposite[0]) <= min(self.band[1], self.opposite[1]):
                raise ValueError(
                    f"claim {self.name}: received bands that overlap, {self.band} and {self.opposite}; separate them"
                )

    @property
    def verdict(self) -> str:
        """SHOWN, NOT_SHOWN, CONTRADICTED or MEASURED. A value that is not a number is not shown."""
        if self.band is None:
            return MEASURED
        if self.band[0] <= self.value <= self.band[1]:
            return SHOWN
        if self.opposite is not None and self.opposite[0] <= self.value <= self.opposite[1]:
            return CONTRADICTED
        return NOT_SHOWN

    def record(self) -> dict:
        """The claim and its verdict as JSON knows it: infinite ends of a band are None."""
        row = asdict(self) | {"value": float(self.value), "verdict": self.verdict, "pictures": list(self.pictures)}
        for key in ("band", "opposite"):
            if row[key] is not None:
                row[key] = [float(x) if math.isfinite(x) else None for x in row[key]]
        if not math.isfinite(row["value"]):
            row["value"] = None
        return row
