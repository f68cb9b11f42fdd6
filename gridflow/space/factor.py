"""Factors: the building blocks of a parameter space, as inert data.

A space is a product of factors (`gridflow.space.grid`). A factor holds cell points, cell volumes and faces, and answers every
question of geometry: schemes and energies branch on none. The final classes are

    LineFactor      a bounded interval with walls           `gridflow.space.line`
    CircleFactor    a circle or an ellipse                  `gridflow.space.circle`
    LabelsFactor    finitely many points without faces      `gridflow.space.labels`
    Mesh            a sphere or an ellipsoid                `gridflow.space.mesh`

Positions in a factor are an array x, (n,) where there is one coordinate, or (n, 3) on a surface; as columns of particles they are
(n, n_columns), and functions that act elementwise take either. What needs one coordinate is in
`gridflow.space.coordinate`, what needs polygons in `gridflow.space.mesh`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from gridflow.errors import require

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
UNIFORM = 1e-9
"""Relative difference of cells that counts as rounding of their ends."""
Cells = Annotated[int, Meta(ge=4, le=1_000_000)]


class Faces(NamedTuple):
    """Faces that carry flux, (n_faces,) each: the cells on both sides, and area over distance."""

    left: Indices
    right: Indices
    rate: Array


@dataclass(frozen=True, eq=False)
class Factor(ABC):
    """Geometry of one coordinate or surface; lengths in units of the coordinate.

    Attributes
    ----------
    kind : of its specification in a case: for files and messages alone
    points : (n_cells,) cell points, (n_cells, 3) on a surface
    volumes : (n_cells,) cell lengths or areas, or the point volumes of labels
    edges : (n_cells + 1,) cell ends along a coordinate, increasing; empty for labels and surfaces
    distances : (n_cells + 1,) geodesic distances of the cell points on both sides of every edge: edge f lies between the cells
        f − 1 and f. The first and the last are the walls of an interval, with the distance from the cell point to the wall, or,
        on a circle, one and the same face. Empty for labels and surfaces
    """

    name: str
    kind: str
    units: str
    points: Array
    volumes: Array
    edges: Array = field(default_factory=lambda: np.zeros(0))
    distances: Array = field(default_factory=lambda: np.zeros(0))

    moves: ClassVar[bool] = True
    """Whether mass moves."""
    dimension: ClassVar[int] = 1
    """Of the interval, circle or surface."""
    columns: ClassVar[int] = 1
    """Numbers that a position takes."""
    components: ClassVar[int] = 1
    """Numbers of the weight vector that a position stands for, see `embed`."""

    @property
    def size(self) -> int:
        """Number of cells."""
        return self.volumes.size

    @property
    def one_dimensional(self) -> bool:
        """Whether mass moves along one coordinate: W1, waves and bounds of cells exist."""
        return self.moves and self.dimension == 1

    @property
    def total_volume(self) -> float:
        """Length, area, or sum of the volumes of labels."""
        return float(self.volumes.sum())

    @property
    def walls(self) -> tuple[float, float] | None:
        """Ends of an interval, through which nothing moves."""
        return None

    @property
    def cuts_off(self) -> bool:
        """Whether the walls are not part of the problem, but cut off a space that goes on beyond them."""
        return False

    @property
    def period(self) -> float:
        """Length after which the coordinate repeats, 0 where it does not."""
        return 0.0

    @property
    def areas(self) -> Array:
        """1 at faces that carry flux, 0 at walls, (n_cells + 1,) like `distances`."""
        areas = np.ones(self.edges.size)
        if self.walls is not None:
            areas[[0, -1]] = 0.0
        return areas

    @property
    def uniform(self) -> bool:
        """Whether all cells are equal, up to the rounding of their ends."""
        return bool(np.ptp(self.volumes) <= UNIFORM * self.volumes.max())

    @property
    def covariance(self) -> Array | None:
        """Σ of {bᵀΣb = 1}, where a case gives one, (d, d)."""
        return None

    @property
    def cell_width(self) -> float:
        """Largest width of a cell, 0 for labels."""
        return float(self.volumes.max()) ** (1 / self.dimension) if self.moves else 0.0

    @abstractmethod
    def fold(self, x: Array) -> Array:
        """Positions brought back into the factor: mirrored at walls, modulo the period of a circle, retracted to a surface."""

    def walk(self, x: Array, vectors: Array) -> Array:
        """End minus start of the geodesics that start at x with the given vectors, (n, n_columns)."""
        return vectors

    def unfolded_gradient(self, unfolded: Array, x: Array, gradient: Array) -> Array:
        """Gradient at unfolded positions from the derivatives at x = fold(unfolded), (n, n_columns) each."""
        return gradient

    @abstractmethod
    def embed(self, x: Array) -> Array:
        """Positions as weight vectors, (n, n_components)."""

    @abstractmethod
    def pull_back(self, x: Array, vectors: Array) -> Array:
        """Jᵀv of J, the derivative of `embed` at x, and covectors v (n, n_components): (n, n_columns)."""

    @property
    @abstractmethod
    def centres(self) -> Array:
        """Means of densities that are uniform in one cell, shape of `points`."""

    @abstractmethod
    def length_image(self, x: Array) -> Array:
        """Positions in a space of lengths, centred, (n, n_components)."""

    @property
    @abstractmethod
    def reach(self) -> float:
        """Largest norm of `length_image`."""

    @abstractmethod
    def shadow(self, direction: Array) -> tuple[Array, Array]:
        """Cells projected on a direction (n_components,) of lengths: middles and squared widths, (n_cells,) each."""

    @abstractmethod
    def neighbours(self, x: Array) -> tuple[tuple[Indices, Indices], tuple[Array, Array]]:
        """((cell before, cell behind), (share, share)) of positions: of linear interpolation, or the nearest cell twice."""

    @abstractmethod
    def distance(self) -> Array:
        """Geodesic distances of the cell points, (n_cells, n_cells)."""

    @abstractmethod
    def log_gaussian(self, epsilon: float) -> Array:
        """Logarithm of exp(−distance²/ε), reflected at walls and wound around circles, (n_cells, n_cells)."""

    @property
    @abstractmethod
    def faces(self) -> Faces:
        """Every face that carries flux, once."""

    def laplacian(self) -> Array:
        """Two-point Laplacian acting on cell values, (n_cells, n_cells): rows sum to 0, volumesᵀL = 0, off-diagonals ≥ 0."""
        matrix = np.zeros((self.size, self.size))
        left, right, rate = self.faces
        np.add.at(matrix, (left, right), rate / self.volumes[left])
        np.add.at(matrix, (right, left), rate / self.volumes[right])
        return matrix - np.diag(matrix.sum(axis=1))

    def heat_kernel(self, time: float) -> Array:
        """exp(time·L) by uniformisation and squaring, (n_cells, n_cells); entries ≥ 0, volumes kept to round-off.

        All terms of the series Σ Poisson(k)·Pᵏ, P = I + L/q ≥ 0, are nonnegative; an eigendecomposition is not.
        """
        laplacian = self.laplacian()
        rate = float(-laplacian.diagonal().min(initial=0.0)) * time
        if rate == 0.0:
            return np.eye(self.size)
        squarings = max(0, int(np.ceil(np.log2(rate))))
        q = rate / 2**squarings
        step = np.eye(self.size) + laplacian * (time / rate)
        term = np.exp(-q) * np.eye(self.size)
        kernel = term.copy()
        for k in range(1, 30):  # the Poisson(q ≤ 1) tail beyond 30 terms is below 1e−32
            term = (q / k) * (term @ step)
            kernel += term
        for _ in range(squarings):
            kernel = kernel @ kernel
        return kernel * (self.volumes / (self.volumes @ kernel))

    def heat_operator(self, time: float) -> Callable[[Array], Array]:
        """exp(time·L) acting on (n_cells, k)."""
        kernel = self.heat_kernel(time)
        return lambda values: kernel @ values

    def refinement(self, cells: int) -> "Factor":
        """The same interval or circle (a round one) with at least so many uniform cells, for quadratures; others stay."""
        return self

    def coarsening(self, cells: int) -> "Factor":
        """The same interval or circle with its cells joined in pairs, where at least so many remain; others stay."""
        return self


def columns_of(factors: tuple[Factor, ...]) -> list[slice]:
    """Where the position in each factor stands in the row of a particle."""
    ends = np.cumsum([f.columns for f in factors])
    return [slice(int(end) - f.columns, int(end)) for f, end in zip(factors, ends, strict=True)]


def block(points: Array, columns: slice) -> Array:
    """Positions in the factor with these columns, (n,) or, on a surface, (n, 3)."""
    return points[:, columns.start] if columns.stop - columns.start == 1 else points[:, columns]


def factor_index(factors: tuple[Factor, ...], name: str, purpose: str) -> int:
    """Index of the factor called `name`. Raises InputError where there is none."""
    names, received = [f.name for f in factors], f"{purpose} names the factor {name!r}"
    require(name in names, received, f"factors of this space: {', '.join(names)}", "use one of these names")
    return names.index(name)
