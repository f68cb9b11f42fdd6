"""Pair interactions: sums on grids and at particles against their definitions, order, gradients, convexity, exact flows."""

import numpy as np
import pytest
from scipy.special import ive, spherical_in

from gridflow.case.case import Case
from gridflow.energy.interaction.convolution import cell_points
from gridflow.energy.interaction.interaction import InteractionEnergy
from gridflow.errors import InputError
from gridflow.solver import solve
from gridflow.space.circle import Circle
from gridflow.space.grid import Grid
from gridflow.space.labels import Labels
from gridflow.space.line import Grading, Interval
from gridflow.space.sphere import Sphere
from gridflow.sums.distance import OfDistance
from gridflow.sums.kernels import Gaussian, Laplace, Riesz
from gridflow.sums.lattice import lattice_value
from gridflow.sums.laws import Bessel, Cosine, Exponential, Logarithmic, Morse, PowerLaw

X = Interval(bounds=(-2.0, 1.0), cells=14).factor("x")
Y = Interval(bounds=(0.0, 2.5), cells=9).factor("y")
Z = Interval(bounds=(-1.0, 1.0), cells=7).factor("z")
GRADED = Interval(bounds=(-2.0, 1.0), cells=12, grading=Grading(focus=0.2, ratio=5.0)).factor("x")
LABELS = Labels(values=[-1.0, 0.5, 3.0]).factor("label")
CIRCLE = Circle(cells=24).factor("angle")
SPHERE = Sphere(level=2).factor("b")
OWN = OfDistance(lambda r: np.cos(r) / (1 + r), lambda r: -np.sin(r) / (1 + r) - np.cos(r) / (1 + r) ** 2)
RADIAL = [
    PowerLaw(attraction=4.0, repulsion=2.0),
    PowerLaw(repulsion=-0.5),
    PowerLaw(attraction=3.0, repulsion=0.5, softening=0.1),
    Logarithmic(),
    Logarithmic(softening=0.3),
    Morse(),
    OWN,
    Laplace(0.8),
]
SPACES = {
    "line": (X,),
    "graded line": (GRADED,),
    "plane": (X, Y),
    "space": (X, Y, Z),
    "labels and a line": (LABELS, X),
}
EVERYWHERE = [(kernel, space) for space in SPACES.values() for kernel in RADIAL]
EVERYWHERE += [(Bessel(length=0.7, dimension=d), (X, Y, Z)[:d]) for d in (1, 2, 3)]
EVERYWHERE += [(Cosine(), (CIRCLE,)), (Cosine(wavenumber=3), (CIRCLE,))]
EVERYWHERE += [(kernel, space) for kernel in (Exponential(rate=1.5), Gaussian(1.3)) for space in [(CIRCLE,), (SPHERE,), (X, SPHERE)]]
EVERYWHERE += [(kernel, (SPHERE,)) for kernel in (Morse(), Laplace(1.0), Riesz(1.0), OWN)]


def name(value):
    return "-".join(f.name for f in value) if isinstance(value, tuple) else None


def dense(kernel, grid):
    """The definition: k between all cell points, (n_cells, n_cells)."""
    if isinstance(kernel, Cosine):
        return kernel.matrix(grid.factors[0])
    if isinstance(kernel, Exponential):
        vectors = [f.embed(f.points) for f in grid.factors]
        numbers = np.indices(grid.shape).reshape(len(vectors), -1)
        points = np.column_stack([v[n] for v, n in zip(vectors, numbers, strict=True)])
        return np.exp(kernel.rate * points @ points.T)
    if isinstance(kernel, Gaussian) and grid.factors[0].period:
        return kernel.matrix(grid.factors[0])
    points = cell_points(grid)
    squared = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    matrix = kernel.radial(squared)
    lines = [f for f in grid.factors if f.one_dimensional]
    if getattr(kernel, "peaked", False):
        own = [
            lattice_value(kernel, np.array([w, *(f.volumes[0] for f in lines[1:])]))
            for w in np.broadcast_to(grid.along(grid.factors.index(lines[0]), lines[0].volumes), grid.shape).ravel()
        ]
        np.fill_diagonal(matrix, own)
    return matrix


def some_masses(grid, seed=0):
    masses = np.random.default_rng(seed).random(grid.shape)
    return masses / masses.sum()


@pytest.mark.parametrize(("kernel", "space"), EVERYWHERE, ids=name)
def test_energy_and_first_variation_are_their_definitions(kernel, space):
    grid = Grid(list(space))
    masses, matrix = some_masses(grid), -0.7 * dense(kernel, grid)
    found = InteractionEnergy(kernel, amplitude=-0.7).bind(grid).evaluate(masses)
    scale = np.abs(matrix).max()
    np.testing.assert_allclose(found.first_variation.ravel(), matrix @ masses.ravel(), atol=1e-12 * scale)
    assert found.value == pytest.approx(0.5 * masses.ravel() @ matrix @ masses.ravel(), abs=1e-12 * scale)
    assert 0 < found.roundoff <= 1e-13 * scale


@pytest.mark.parametrize(("kernel", "space"), EVERYWHERE, ids=name)
def test_convexity_is_claimed_where_the_matrix_has_it(kernel, space):
    """Definite on differences of equal mass, for the attracting and the repelling sign; only sufficient conditions are claimed."""
    grid = Grid(list(space))
    matrix = dense(kernel, grid)
    centring = np.eye(grid.size) - 1 / grid.size
    lowest = np.linalg.eigvalsh(centring @ matrix @ centring)[0]
    if InteractionEnergy(kernel, 1.0).bind(grid).convex:
        assert lowest >= -1e-11 * np.abs(matrix).max()
    assert not InteractionEnergy(kernel, -1.0).bind(grid).convex


def random_points(factors, count, seed=1):
    generator = np.random.default_rng(seed)
    parts = []
    for f in factors:
        if f.columns > 1:
            parts.append(f.fold(generator.standard_normal((count, 3))))
        elif f.moves:
            parts.append(generator.uniform(f.edges[0], f.edges[-1], (count, 1)))
        else:
            parts.append(generator.choice(f.points, (count, 1)))
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize(("kernel", "space"), EVERYWHERE, ids=name)
def test_particles(kernel, space):
    """The value against the definition; the gradient w_i ∂ξ(x_i) against differences of the value along every coordinate."""
    factors = Grid(list(space)).factors
    points, weights = random_points(factors, 9), np.linspace(0.5, 1.5, 9) / 9
    energy = InteractionEnergy(kernel, 1.3).particles(factors)
    found, step = energy.evaluate(points, weights), 1e-5
    assert found.value == pytest.approx(0.5 * weights @ found.first_variation, rel=1e-12)
    column = 0
    for f in factors:
        for c in range(column, column + f.columns):
            if not f.moves:
                assert (found.gradient[:, c] == 0).all()
                continue
            for i in range(len(points)):
                values = []
                for sign in (1, -1):
                    moved = points.copy()
                    moved[i, c] += sign * step
                    values.append(energy.evaluate(moved, weights).value)
                slope = (values[0] - values[1]) / (2 * step)
                assert weights[i] * found.gradient[i, c] == pytest.approx(slope, rel=1e-5, abs=1e-8)
        column += f.columns


@pytest.mark.parametrize("widths", [[0.1], [0.1, 0.1], [0.1, 0.1, 0.1]])
def test_lattice_value_against_published_constants(widths):
    """−log(h/2π) and −log h − Z'(0) (Epstein zeta); 1/r: −ζ-like constants 3.90026492 (plane) and 2.83729748 (space)."""
    h, dim = widths[0], len(widths)
    if dim < 3:
        plane = -np.log(h) + 1.3105329259
        assert lattice_value(Logarithmic(), np.array(widths)) == pytest.approx([-np.log(h / (2 * np.pi)), plane][dim - 1], rel=1e-8)
    if dim > 1:
        coulomb = lattice_value(PowerLaw(repulsion=-1.0), np.array(widths))
        assert coulomb * h == pytest.approx([3.90026492, 2.83729748][dim - 2], rel=1e-8)


@pytest.mark.parametrize("kernel", [Logarithmic(), PowerLaw(repulsion=-0.5), PowerLaw(repulsion=-1.0), Bessel(length=0.4)])
def test_singular_kernels_are_of_second_order(kernel):
    """The field at the centre of a normal density, against its radial integral ∫k(r) ρ(r) 2πr dr."""
    from scipy.integrate import quad

    def exact():
        def ring(u):  # r = u⁴: smooth at 0
            r = u**4
            return float(kernel.radial(np.array([r * r]))[0]) * np.exp(-(r**2) / (2 * 0.3**2)) / 0.09 * r * 4 * u**3

        return quad(ring, 1e-12, 2.4**0.25, epsabs=1e-13, epsrel=1e-12, limit=200)[0]

    errors = []
    for cells in (21, 43):
        lines = [Interval(bounds=(-2.1, 2.1), cells=cells).factor(n) for n in "xy"]
        grid = Grid(lines)
        squared = grid.along(0, grid.factors[0].points ** 2) + grid.along(1, grid.factors[1].points ** 2)
        masses = np.exp(-squared / (2 * 0.3**2)) / (2 * np.pi * 0.09) * grid.volume
        xi = InteractionEnergy(kernel).bind(grid).evaluate(masses).first_variation
        errors.append(abs(xi[cells // 2, cells // 2] - exact()))
    assert errors[1] <= errors[0] * (21 / 43) ** 1.8
