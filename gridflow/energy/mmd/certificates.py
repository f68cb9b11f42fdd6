"""Certificates of an MMD flow that need a density (S4, slides on the dissipation inequalities; MATH §1.5).

With S and the weighted Poisson problem of `gridflow.energy.sobolev.poisson`, ν + δ for ν,

    2F = ∫ξ d(ν − ν*) ≤ S (∫|∇ξ|² d(ν + δ))^{1/2}                                        (1)

for the discrete operators too, because both factors have the same face weights: `sobolev_ratio`, the left side over the right
one, is at most 1 + round-off at every save. (S4 prints the last factor without its root.) Without noise and temperature the flow
has dF/dt = −D, so that (1) bounds F by its own past:

    1/F(t) ≥ 1/F(0) + 4∫ds/S_D²,      S_D² = S² · ∫|∇ξ|² d(ν + δ)/D                       (2)

where the last factor corrects for δ and for the face values that the scheme has in place of those of S: with it (2) holds for the
discrete flow whatever δ is. As δ → 0 it tends to 1 and (2) to S4's bound, 1/F(0) + 4∫ds/S² (its slide: C for S², and 2 for 4).

Samples of a target have no density: here, and only here, they are spread over the cells around them, with their mean kept, which
displaces them by less than a cell. Then the left side of (1) is ∫ξ d(ν − ν*) for these, which is 2F up to O(h²).
"""

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from msgspec import Meta, Struct

from gridflow.energy.base import Records
from gridflow.energy.sobolev.poisson import WeightedPoisson
from gridflow.errors import require
from gridflow.space.factor import Array

if TYPE_CHECKING:
    import xarray


class Certificates(Struct, frozen=True, forbid_unknown_fields=True):
    """Numbers of every save that bound the MMD.

    regularization : mass spread evenly over the space, δ times its volume, beside the mass 1 of ν
    """

    regularization: Annotated[float, Meta(gt=0.0, le=1.0)] = 1e-6


@dataclass(frozen=True, eq=False)
class BoundCertificates:
    """The certificates on a grid. target : cell masses of ν*."""

    problem: WeightedPoisson
    target: Array

    records: ClassVar[Records] = {
        "sobolev": ("1", "negative Sobolev distance S to the target, regularized"),
        "sobolev_dissipation": ("1", "integral of |grad xi|^2 d(nu + delta), with the face weights of S"),
        "sobolev_ratio": ("1", "2F/(S*sqrt(sobolev_dissipation)), at most 1 by the inequality of Cauchy and Schwarz"),
    }

    def numbers(self, density: Array, xi: Array) -> dict[str, float]:
        """S, ∫|∇ξ|² d(ν + δ) and the ratio of both sides of (1), by name."""
        source = self.target - density * self.problem.grid.volume
        g = self.problem.solve(density, source)
        sobolev = float(np.sqrt(self.problem.form(density, g, g)))
        dissipation = self.problem.form(density, xi, xi)
        largest = sobolev * float(np.sqrt(dissipation))
        ratio = -float(np.vdot(xi, source)) / largest if largest > 0 else 0.0
        return dict(zip(self.records, (sobolev, dissipation, ratio), strict=True))


def energy_bound(dataset: "xarray.Dataset") -> "xarray.DataArray":
    """The right side of (2) at every save of a run with certificates, (n_times,).

    The integral over the time between two saves takes the larger S_D of both: a bound wherever S_D is monotone in between.
    Raises InputError for a dataset without certificates, and for flows to which (2) does not apply.
    """
    need(dataset, "sobolev", "certificates = {} in [energy]")
    flow = tomllib.loads(dataset.attrs["case"])["flow"]
    alone = "noise_level" not in dataset and flow["temperature"] == 0 and flow["reaction"]["rate"] == 0
    require(alone, "the bound on F for a flow with noise, temperature or reaction", "flows of F alone", "remove them from [flow]")
    rate = (dataset["dissipation"] / (dataset["sobolev"] ** 2 * dataset["sobolev_dissipation"])).to_numpy()
    return curve(dataset, 1 / (1 / float(dataset["energy"][0]) + 4 * lower_sum(dataset, rate)), "bound on F by S")


def rate_bound(dataset: "xarray.Dataset") -> "xarray.DataArray":
    """F(0) exp(−½∫D_β/F ds): `gridflow.flow.noise` (2) with λ_t measured on the run itself, (n_times,).

    It holds where −dF/dt ≥ ½D_β all along: `dissipation` over `injected_dissipation`. Raises InputError without noise.
    """
    need(dataset, "injected_dissipation", "a Gaussian kernel and flow.noise_injection.level")
    rate = (dataset["injected_dissipation"] / dataset["energy"]).to_numpy()
    return curve(dataset, float(dataset["energy"][0]) * np.exp(-0.5 * lower_sum(dataset, rate)), "rate of decrease under noise")


def curve(dataset: "xarray.Dataset", values: Array, name: str) -> "xarray.DataArray":
    """A number at every save of a dataset."""
    import xarray

    return xarray.DataArray(values, dims="time", coords={"time": dataset["time"]}, attrs={"long_name": name, "units": "1"})


def lower_sum(dataset: "xarray.Dataset", rate: Array) -> Array:
    """∫rate dt from the first save to every save, with the smaller rate of the two ends of each interval."""
    steps = np.diff(dataset["time"].to_numpy()) * np.minimum(rate[1:], rate[:-1])
    return np.concatenate([[0.0], np.cumsum(steps)])


def need(dataset: "xarray.Dataset", name: str, key: str) -> None:
    """Raises InputError for a dataset without a variable."""
    require(name in dataset, f"a dataset without {name!r}", f"one of a case with {key}", "solve the case with it")
