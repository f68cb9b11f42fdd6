"""Exact solutions: cell masses at any time, for tests and for the errors in a dataset.

Each class names one solution that a case may claim under [exact]; it checks that the case is the one it solves. Where the
solution is an ordinary differential equation, later times continue from earlier ones.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import Struct
from scipy.integrate import solve_ivp
from scipy.interpolate import CubicHermiteSpline
from scipy.special import ndtr

from gridflow.errors import InputError, SolveError
from gridflow.space.densities import Cosine, Harmonic, Normal
from gridflow.space.factor import Array, Factor
from gridflow.space.grid import Grid

if TYPE_CHECKING:
    from gridflow.case.case import Case


class Exact(Struct, frozen=True, forbid_unknown_fields=True):
    """An exact solution of some cases."""

    def solution(self, case: "Case", grid: Grid) -> Callable[[float], Array]:
        """t ↦ cell masses, shape of the grid. Raises InputError for a case that it does not solve."""
        raise NotImplementedError

    def masses(self, case: "Case", grid: Grid, times: list[float]) -> Array:
        """Cell masses at the times, (n_times, *shape of the grid). Raises InputError for a case that it does not solve."""
        at = self.solution(case, grid)
        return np.stack([at(t) for t in times])


def require(condition: bool, name: str, needs: str) -> None:
    if not condition:
        raise InputError(f'exact solution "{name}" for this case', needs, "remove [exact], or change the case")


def normals(case: "Case", name: str, needs: str, reaction: bool = False) -> list[tuple[float, Normal]]:
    """Weights (sum 1) and normal components of the initial density of a one-dimensional case on an interval."""
    require(reaction or (case.flow.mobility == {} and not case.flow.reaction.acts), name, needs + ", no mobility, no reaction")
    require(len(case.space) == 1 and next(iter(case.space.values())).factor("x").kind == "interval", name, needs)
    densities = [(c.weight, *c.density.values()) for c in case.initial]
    require(all(len(d) == 2 and isinstance(d[1], Normal) for d in densities), name, needs)
    total = sum(c.weight for c in case.initial)
    return [(c.weight / total, d) for c in case.initial for d in c.density.values() if isinstance(d, Normal)]


def normal_masses(components: list[tuple[float, Normal]], factor: Factor) -> Array:
    return np.sum([weight * normal.between(factor.edges) for weight, normal in components], axis=0)


def affine(
    components: list[tuple[float, Normal]], scale: float, shift: float, variance: float = 0.0
) -> list[tuple[float, Normal]]:
    """Push a mixture forward by x ↦ scale·x + shift, then convolve it with N(0, variance)."""
    return [(w, Normal(scale * n.mean + shift, float(np.hypot(scale * n.deviation, np.sqrt(variance))))) for w, n in components]


def first_moment(components: list[tuple[float, Normal]]) -> float:
    return sum(w * n.mean for w, n in components)


def second_moment(components: list[tuple[float, Normal]]) -> float:
    return sum(w * (n.mean**2 + n.deviation**2) for w, n in components)


class QuadraticActivation(Exact, frozen=True, forbid_unknown_fields=True, tag="quadratic-activation", tag_field="kind"):
    """φ = (θx)², d = 1: E = (c/2)(m₂ − m₂*)², c = E x⁴; ρ is scaled by s, ṡ = −2c(m₂ − m₂*)s, ṁ₂ = −4c(m₂ − m₂*)m₂."""

    def solution(self, case: "Case", grid: Grid) -> Callable[[float], Array]:
        name, needs = "quadratic-activation", "one interval, normal components, a quadratic teacher and student, no temperature"
        components = normals(case, name, needs)
        data = single_neuron_data(case, name, needs, "quadratic")
        fourth = float(data.weights @ data.inputs[:, 0] ** 4)
        target = float(data.weights @ (data.inputs[:, 0] ** 2 * data.targets[:, 0])) / fourth  # y = m₂* x²
        require(np.allclose(data.targets[:, 0], target * data.inputs[:, 0] ** 2), name, needs)

        def rate(_: float, state: Array) -> list[float]:
            pull = 2 * fourth * (state[1] - target)
            return [-pull * state[0], -2 * pull * state[1]]

        path = Trajectory(rate, [1.0, second_moment(components)])
        return lambda t: normal_masses(affine(components, path.at(t)[0], 0.0), grid.factors[0])


class IdentityActivation(Exact, frozen=True, forbid_unknown_fields=True, tag="identity-activation", tag_field="kind"):
    """φ = θx, d = 1: translation, ṁ₁ = −c(m₁ − m₁*), c = E x²."""

    def solution(self, case: "Case", grid: Grid) -> Callable[[float], Array]:
        name, needs = "identity-activation", "one interval, normal components, an identity teacher and student, no temperature"
        components = normals(case, name, needs)
        data = single_neuron_data(case, name, needs, "identity")
        rate = float(data.weights @ data.inputs[:, 0] ** 2)
        target = float(data.weights @ (data.inputs[:, 0] * data.targets[:, 0])) / rate
        require(np.allclose(data.targets[:, 0], target * data.inputs[:, 0]), name, needs)
        start = first_moment(components)

        def at(t: float) -> Array:
            return normal_masses(affine(components, 1.0, (target - start) * -float(np.expm1(-rate * t))), grid.factors[0])

        return at


class OrnsteinUhlenbeck(Exact, frozen=True, forbid_unknown_fields=True, tag="ornstein-uhlenbeck", tag_field="kind"):
    """V = k(x − c)²/2 and temperature D: means relax like e^{−kt}, variances to D/k (Uhlenbeck and Ornstein 1930)."""

    def solution(self, case: "Case", grid: Grid) -> Callable[[float], Array]:
        from gridflow.energy.potential import Potential, Quadratic

        name, needs = "ornstein-uhlenbeck", "one interval, normal components and a quadratic potential"
        components = normals(case, name, needs)
        terms = list(case.energy.terms.values()) if isinstance(case.energy, Potential) else []
        require(len(terms) == 1 and isinstance(terms[0], Quadratic) and terms[0].stiffness > 0, name, needs)
        potential: Any = terms[0]

        def at(t: float) -> Array:
            decay = float(np.exp(-potential.stiffness * t))
            variance = -case.flow.temperature / potential.stiffness * float(np.expm1(-2 * potential.stiffness * t))
            return normal_masses(affine(components, decay, potential.centre * (1 - decay), variance), grid.factors[0])

        return at


class Reacting(Exact, frozen=True, forbid_unknown_fields=True, tag="normal-reaction", tag_field="kind"):
    """Transport, temperature and reaction in V = a x²/2 + b x + c keep normal densities normal, up to their mass.

    With mobility M, for ρ = e^l N(m, s): moments of the equation with V up to order two, and Cov(x, V) = s(am + b),
    Cov((x − m)², V) = as², give

        ṁ = −(M + κs)(am + b),    ṡ = −2Mas + 2MD − κas²,    l̇ = −κ(a(s + m²)/2 + bm + c)

    for every component by itself, the equation being linear; with `conserve` the sum is divided by its mass.
    """

    def solution(self, case: "Case", grid: Grid) -> Callable[[float], Array]:
        name, needs = "normal-reaction", "one interval, normal components, a quadratic or linear potential"
        components = normals(case, name, needs, reaction=True)
        a, b, c = potential_coefficients(case, name, needs)
        mobility = float(grid.mobility[0].ravel()[0])  # a number: the one factor has no other to depend on
        rate, diffusion = case.flow.reaction.rate, mobility * case.flow.temperature

        def speed(_: float, state: Array) -> list[float]:
            mean, variance, _ = state
            return [
                -(mobility + rate * variance) * (a * mean + b),
                -2 * mobility * a * variance + 2 * diffusion - rate * a * variance**2,
                -rate * (a * (variance + mean**2) / 2 + b * mean + c),
            ]

        paths = [Trajectory(speed, [n.mean, n.deviation**2, float(np.log(w))]) for w, n in components]

        def at(t: float) -> Array:
            result = np.zeros(grid.size)
            for mean, variance, log in (path.at(t) for path in paths):
                result += np.exp(log) * Normal(mean, float(np.sqrt(variance))).between(grid.factors[0].edges)
            return result / result.sum() if case.flow.reaction.conserve else result

        return at


def potential_coefficients(case: "Case", name: str, needs: str) -> tuple[float, float, float]:
    """(a, b, c) of V = a x²/2 + b x + c."""
    from gridflow.energy.potential import Linear, Potential, Quadratic

    terms = list(case.energy.terms.values()) if isinstance(case.energy, Potential) else []
    require(len(terms) == 1 and isinstance(terms[0], Quadratic | Linear), name, needs)
    term = terms[0]
    if isinstance(term, Quadratic):
        return term.stiffness, -term.stiffness * term.centre, term.stiffness * term.centre**2 / 2
    assert isinstance(term, Linear)
    return 0.0, term.slope, 0.0


class Heat(Exact, frozen=True, forbid_unknown_fields=True, tag="heat", tag_field="kind"):
    """No energy, temperature D, one cosine or spherical harmonic: it decays by exp(−D k² t), k² = l(l + 1) on the sphere."""

    def solution(self, case: "Case", grid: Grid) -> Callable[[float], Array]:
        from gridflow.energy.potential import Potential

        name, needs = (
            "heat",
            "one interval, circle or surface, a cosine or harmonic to start from, a potential without terms",
        )
        require(case.flow.mobility == {} and not case.flow.reaction.acts, name, needs + ", no mobility, no reaction")
        require(
            isinstance(case.energy, Potential) and not case.energy.terms and len(case.initial) == 1 and len(case.space) == 1,
            name,
            needs,
        )
        density: Any = next(iter(case.initial[0].density.values()), None)
        require(isinstance(density, Cosine | Harmonic), name, needs)
        factor = grid.factors[0]
        harmonic = isinstance(density, Harmonic)
        square = density.degree * (density.degree + 1) if harmonic else density.frequency(factor) ** 2

        def at(t: float) -> Array:
            amplitude = density.amplitude * float(np.exp(-case.flow.temperature * square * t))
            if harmonic:
                return Harmonic(amplitude, density.degree, density.axis).masses(factor)
            return Cosine(amplitude, density.wavenumber).masses(factor)

        return at


class RieszQuantiles(Exact, frozen=True, forbid_unknown_fields=True, tag="riesz-quantiles", tag_field="kind"):
    """MMD with k = −|x − y| in 1D: quantiles decouple.

    F = ½∬k d(ν − ν*)², ξ = ∫k(·, u)(ν − ν*)(du) and ∂ₓ|x − u| = sign(x − u) give ∂ξ = −2(F_ν − F_ν*), hence v = −∂ξ =
    2(F_ν − F_ν*), and, F_ν being constant along the paths Q(s) of the mass, Q̇(s) = 2(s − F_ν*(Q(s))). The mass starts at x₀
    with s = F₀(x₀); J = ∂Q/∂x₀ obeys J̇ = 2(ρ₀(x₀) − ρ*(Q)J), so that F_ν at Q has the slope ρ₀/J: cubic Hermite
    interpolation between many starting points.
    """

    def solution(self, case: "Case", grid: Grid) -> Callable[[float], Array]:
        from gridflow.energy.mmd.kernels import Riesz
        from gridflow.energy.mmd.mmd import MMD

        name, needs = "riesz-quantiles", "one interval, normal components, an MMD with kernel −|x − y| to normal densities"
        start = normals(case, name, needs)
        energy = case.energy
        require(isinstance(energy, MMD) and energy.kernel == Riesz(1.0) and case.flow.temperature == 0, name, needs)
        assert isinstance(energy, MMD)
        total = sum(c.weight for c in energy.target)
        targets = [(c.weight / total, next(iter(c.density.values()), None)) for c in energy.target]
        target = [(w, d) for w, d in targets if isinstance(d, Normal)]
        require(len(target) == len(targets), name, needs)
        factor = grid.factors[0]
        begin: Array = np.linspace(factor.edges[0], factor.edges[-1], 1 + max(STARTS, 4 * factor.size))
        level, density = distribution(start, begin)

        def rate(_: float, state: Array) -> Array:
            here, slope = np.split(state, 2)
            below, height = distribution(target, here)
            return np.concatenate([2 * (level - below), 2 * (density - height * slope)])

        path = Trajectory(rate, np.concatenate([begin, np.ones_like(begin)]))

        def at(t: float) -> Array:
            places, slopes = np.split(path.at(t), 2)
            return np.diff(level_at(factor.edges, places, level, density / slopes))

        return at


class SobolevTransport(Exact, frozen=True, forbid_unknown_fields=True, tag="sobolev-transport", tag_field="kind"):
    """v = ∇g with −div(ν∇g) = ν* − ν: ∂ν/∂t = ν* − ν, and so ν_t = ν* + e^{−t}(ν₀ − ν*), on any space."""

    def solution(self, case: "Case", grid: Grid) -> Callable[[float], Array]:
        from pathlib import Path

        from gridflow.energy.mmd.mmd import target_masses
        from gridflow.energy.sobolev.sobolev import Sobolev
        from gridflow.space.densities import mixture_masses

        name, needs = "sobolev-transport", "a Sobolev energy with transport, no regularization, temperature or reaction"
        energy, flow = case.energy, case.flow
        transports = isinstance(energy, Sobolev) and energy.flow == "transport" and energy.regularization == 0
        require(transports and flow.temperature == 0 and not flow.reaction.acts, name, needs)
        assert isinstance(energy, Sobolev)
        target, samples = target_masses(energy.target, grid, Path(case.directory))
        require(samples is None, name, needs + ", a target without samples")
        start = mixture_masses(case.initial, grid, Path(case.directory), "initial")
        return lambda t: target + np.exp(-t) * (start - target)


STARTS = 2048


def distribution(components: list[tuple[float, Normal]], x: Array) -> tuple[Array, Array]:
    """Distribution function and density of a mixture."""
    scaled = [(w, n.deviation, (x - n.mean) / n.deviation) for w, n in components]
    below = np.sum([w * ndtr(z) for w, _, z in scaled], axis=0)
    return below, np.sum([w / (d * np.sqrt(2 * np.pi)) * np.exp(-(z**2) / 2) for w, d, z in scaled], axis=0)


def level_at(edges: Array, places: Array, level: Array, slope: Array) -> Array:
    """The distribution function at the cell ends, from its values and slopes at increasing places; 0 and 1 beyond them."""
    kept = np.concatenate([[True], np.diff(places) > 0])
    inside = CubicHermiteSpline(places[kept], level[kept], slope[kept])(np.clip(edges, places[0], places[-1]))
    return np.where(edges < places[0], 0.0, np.where(edges > places[-1], 1.0, inside))


ExactSpec = QuadraticActivation | IdentityActivation | OrnsteinUhlenbeck | Heat | Reacting | RieszQuantiles | SobolevTransport


def single_neuron_data(case: "Case", name: str, needs: str, activation: str) -> Any:
    from pathlib import Path

    from gridflow.energy.network.network import Network

    energy = case.energy
    require(
        isinstance(energy, Network) and energy.activation == activation and energy.loss == "squared" and energy.decay == 0
        and not energy.bias and not energy.normalization and case.flow.temperature == 0,
        name, needs,
    )  # fmt: skip
    data = energy.load(Path(case.directory)).data  # type: ignore[union-attr]
    require(data.inputs.shape[1] == data.targets.shape[1] == 1, name, needs)
    return data


class Trajectory:
    """The solution of an autonomous ODE from time 0 on, to round-off for our purposes. Later times continue from the last one."""

    def __init__(self, rate: Any, start: list[float] | Array) -> None:
        self.rate, self.start = rate, np.asarray(start, dtype=float)
        self.time, self.state = 0.0, self.start

    def at(self, time: float) -> Array:
        """The state at a time."""
        if time < self.time:
            self.time, self.state = 0.0, self.start
        if time > self.time:
            span = (0.0, time - self.time)
            solution = solve_ivp(self.rate, span, self.state, t_eval=span[1:], method="DOP853", rtol=1e-12, atol=1e-14)
            if not solution.success:
                raise SolveError(f"the exact solution could not be computed up to time {time:g}: {solution.message}")
            self.time, self.state = time, solution.y[:, -1]
        return self.state
