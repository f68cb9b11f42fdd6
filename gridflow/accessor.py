"""`ds.gridflow`: what a dataset with a density can do, as methods of an xarray accessor.

    import gridflow

    ds = gridflow.solve(gridflow.load_case("bn-circle"))      # or gridflow.open("run.nc")
    ds.gridflow.marginal("a").plot()

`gridflow.solve`, `open` and `concat` register it; for datasets that xarray alone has opened, `import gridflow.accessor` does.
Files of other programs have it too, if they follow the schema: `density`, `cell_volume` with one dimension per factor
(`gridflow.output.spaces`). What is computed has the dimensions of `density` that are no factors: `time`, and those along which
datasets were joined. Methods with `time` take the saved time that it names, by default all of them.

With m_i = ρ_i V_i the mass of cell i, an integral is the sum Σ_i f(x_i) m_i over the cell points x_i, with an error of second
order in their width. Units are those of the coordinates, or dimensionless.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray

from gridflow.errors import require
from gridflow.output.comparing import TITLES, check_same_space, metric_of
from gridflow.output.rebuilt import case_of, evaluated, predicted
from gridflow.output.samples import sample_cells
from gridflow.output.saves import Time, against, at_time, clouds_of, described, fields_of, interpolated, together
from gridflow.output.spaces import check_schema, factor_dims, grid_of
from gridflow.particles.cloud import Cloud
from gridflow.space.factor import Array, factor_index
from gridflow.space.grid import Grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gridflow.case.case import Case
    from gridflow.energy.base import Energy
    from gridflow.output.movies import Movie
    from gridflow.particles.simulation import ParticleRun


@xarray.register_dataset_accessor("gridflow")
class Accessor:
    """Methods of a dataset with a density, as `ds.gridflow`."""

    def __init__(self, dataset: xarray.Dataset) -> None:
        self.dataset = dataset

    def __repr__(self) -> str:
        methods = [name for name, value in vars(Accessor).items() if not name.startswith("_") and callable(value)]
        return f"<gridflow methods of a dataset: {', '.join(methods)}>"

    @property
    def grid(self) -> Grid:
        """The grid (`gridflow.space.grid.Grid`). Raises InputError for a dataset that does not follow the schema."""
        check_schema(self.dataset, "the grid")
        return grid_of(self.dataset)

    def masses(self, time: Time = None) -> xarray.DataArray:
        """m_i = ρ_i V_i, the mass of every cell, with the dimensions of the density.

        >>> ds.gridflow.masses().dims
        ('time', 'x')
        """
        dataset = at_time(self.dataset, time, "the masses")
        return described(dataset["density"] * dataset["cell_volume"], "mass", "mass of the cell")

    def integrate(self, f: Callable[..., Any] | xarray.DataArray | float = 1.0, time: Time = None) -> xarray.DataArray:
        """∫ f dρ = Σ_i f(x_i) m_i at every saved time, (time,); the mass without f.

        f : a function of factors by name, which gets their cell points as arrays that broadcast, those of a surface with a last
            dimension NAME_component of three; or an array with dimensions of the dataset. Further dimensions of its values stay

        >>> ds.gridflow.integrate(lambda x: x**2).round(2).to_numpy()
        array([0.8 , 0.48, 0.31])

        Raises InputError for a function of something else than factors.
        """
        masses = self.masses(time)
        values = f(**{name: self._position(name) for name in inspect.signature(f).parameters}) if callable(f) else f
        return described((masses * values).sum(factor_dims(self.dataset)), "integral", "integral over the density")

    def _position(self, name: str) -> xarray.DataArray:
        """Cell points of a factor. Raises InputError where there is none of this name."""
        names = factor_dims(self.dataset)
        require(name in names, f"a function of {name!r}", f"of factors: {', '.join(names)}", "call its arguments like them")
        return self.dataset[f"{name}_points" if f"{name}_points" in self.dataset.variables else name]

    def marginal(self, *names: str, time: Time = None) -> xarray.DataArray:
        """Density of the marginal on some factors, Σ_others m / V_names: per length, area or label volume, (time, *names).

        >>> ds.gridflow.marginal("x").dims
        ('time', 'x')

        Raises InputError for no names, or one that is no factor.
        """
        masses, grid = self.masses(time), self.grid
        allowed, fix = f"some of: {', '.join(grid.order)}", f'marginal("{grid.order[-1]}")'
        require(len(names) > 0, "a marginal without factors", allowed, fix)
        factors = [grid.factors[factor_index(grid.factors, name, "a marginal")] for name in names]
        volumes = xarray.DataArray(reduce(np.multiply.outer, [f.volumes for f in factors]), dims=names)
        others = [n for n in grid.order if n not in names]
        marginal = (masses.sum(others) / volumes).transpose(..., *names).assign_coords(cell_volume=volumes)
        return described(marginal, "density", f"marginal density of {', '.join(names)}")

    def moment(self, order: int, name: str, time: Time = None) -> xarray.DataArray:
        """The moment of an order k ≥ 1 along one factor, not divided by the mass: Σ_i of m_i times

            x_i^k                      on an interval or labels, (time,)
            (cos kφ_i, sin kφ_i)       on a circle, φ = 2πx/length, (time, 2)
            b_i, or b_i b_iᵀ           on a surface, k = 1 or 2, (time, 3) or (time, 3, 3)

        >>> ds.gridflow.moment(1, "x").round(3).to_numpy()
        array([-0.8  , -0.544, -0.353])
        """
        grid, masses = self.grid, self.masses(time)
        factor = grid.factors[factor_index(grid.factors, name, "a moment")]
        top = 2 if factor.columns > 1 else np.inf
        allowed = "1 or 2 on a surface, else 1, 2, 3, …"
        require(isinstance(order, int) and 1 <= order <= top, f"a moment of order {order!r} along {name!r}", allowed, "use 1")
        dims: tuple[str, ...] = (name,)
        if factor.columns > 1:
            dims += tuple(f"{name}_component{suffix}" for suffix in ("", "_2")[:order])
            values = factor.points if order == 1 else factor.points[:, :, None] * factor.points[:, None, :]
        elif factor.period > 0:
            dims += (f"{name}_component",)
            angle = order * 2 * np.pi * factor.points / factor.period
            values = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        else:
            values = factor.points**order
        others = [n for n in grid.order if n != name]
        moment = (masses.sum(others) * xarray.DataArray(values, dims=dims)).sum(name)
        return described(moment, "moment", f"moment of order {order} along {name}")

    def interpolate(self, points: Mapping[str, Any] | Array, time: Time = None) -> xarray.DataArray:
        """The density at points, (time, point): linear along intervals and circles between cell points, and constant between the
        last one and a wall; on a surface that of the nearest cell, at labels that of the label.

        points : by factor, (n_points,) each, or (n_points, 3) on a surface; or (n_points, n_columns) in the order of the grid

        >>> ds.gridflow.interpolate({"x": [0.0, 0.5]}).shape
        (3, 2)

        Raises InputError for points outside the space.
        """
        grid = self.grid
        fields, numbers = fields_of(at_time(self.dataset, time, "interpolation"), grid)
        return together(interpolated(fields, grid, points), numbers, ("point",), "density", "density at the points")

    def sample(self, n: int, seed: int = 0, time: Time = None) -> Cloud:
        """n independent points of a density divided by its mass, of weight 1/n: what `gridflow.simulate` can start from.

        A cell is drawn in proportion to its mass, then a point uniformly within it, on a surface within its face. Points are
        (n, n_columns), columns in the order of `ds.gridflow.grid`; the same seed gives the same points. time : default the last

        >>> ds.gridflow.sample(1000, seed=1).points.shape
        (1000, 1)

        Raises InputError for fewer than one point, or several densities.
        """
        require(n >= 1, f"a sample of {n} points", "at least 1", "draw more")
        check_schema(self.dataset, "a sample")
        over_time = "time" in self.dataset["density"].dims
        grid, dataset = self.grid, at_time(self.dataset, "last" if time is None and over_time else time, "a sample")
        fields, numbers = fields_of(dataset, grid)
        received = f"a sample of densities along {', '.join(map(str, numbers.dims))}"
        require(numbers.ndim == 0, received, "one density", "choose one with ds.isel")
        points = sample_cells(grid, fields[0] * grid.volume, n, np.random.default_rng(seed))
        return Cloud(points, np.full(n, 1 / n))

    def distance(
        self,
        other: "xarray.Dataset | Cloud | ParticleRun",
        kind: str = "w1",
        *,
        along: str | None = None,
        time: Time = None,
    ) -> xarray.DataArray:
        """The distance to other densities, or clouds, on the same space at every saved time, (time,).

        other : a dataset, also on other cells, or a `ParticleRun`, with the same times; or one density without the dimension
            time, or a `Cloud`, which is compared with all
        kind : "w1" or "w2", exact in one dimension: W_p^p = ∫₀¹|Q(s) − R(s)|^p ds of the quantile functions; "sliced", the mean
            over directions of W1 in the full space; "energy", the root of 2E|X−Y| − E|X−X'| − E|Y−Y'|
            (`gridflow.space.distances`)
        along : for w1 and w2 the factor whose marginals are compared, needed where the space has several
        time : of this dataset, and of the other where it has times

        Densities are divided by their mass, and uniform inside their cells. Units are those of the coordinates.

        >>> ds.gridflow.distance(ds.isel(time=-1)).shape
        (3,)

        Raises InputError for other spaces, other times or an unknown kind.
        """
        mine = self.grid
        metric = metric_of(kind, along, mine)
        fields, numbers = fields_of(at_time(self.dataset, time, "a distance"), mine)
        sketches = [metric.of_cells(mine, f * mine.volume) for f in fields]
        if isinstance(other, xarray.Dataset):
            theirs = grid_of(at_time(other, None, "a distance"))
            check_same_space(metric, theirs)
            chosen = time if "time" in other["density"].dims else None
            fields, others = fields_of(at_time(other, chosen, "a distance"), theirs)
            found = [metric.of_cells(theirs, f * theirs.volume) for f in fields]
        else:
            clouds, others = clouds_of(other, time)
            found = [metric.of_points(points, weights) for points, weights in clouds]
        result = against(metric.between, sketches, numbers, found, others)
        return described(result, "distance", TITLES[kind] + (f" along {along}" if along else ""))

    def case(self, directory: str | Path | None = None) -> "Case":
        """The case that was solved, from the attributes: to change it, and solve it again.

        directory : where its relative paths start, needed for results from files whose case reads data from its own folder

        >>> ds.gridflow.case().replace({"time.stop": 2.0}).time.stop
        2.0

        Raises InputError for a dataset without case, and for a run with an energy in Python.
        """
        return case_of(self.dataset, directory)

    def free_energy(
        self, time: Time = None, *, energy: "Energy | None" = None, directory: str | Path | None = None
    ) -> xarray.DataArray:
        """F = E(ρ) + D∫ρ log ρ dV of every density, (time,), from the case of the dataset: what `energy` holds, evaluated again.

        energy : in place of that of the case, as it was given to `gridflow.solve`; directory : as of `case`

        >>> bool(abs(ds.gridflow.free_energy() - ds["energy"]).max() < 1e-12)
        True

        Raises InputError for a density on another grid than that of its case, SolveError where the energy is not finite.
        """
        values, _, numbers = evaluated(self.dataset, time, energy, directory)
        return together(values, numbers, (), "energy", "free energy")

    def first_variation(
        self, time: Time = None, *, energy: "Energy | None" = None, directory: str | Path | None = None
    ) -> xarray.DataArray:
        """ξ = δE/δρ at the cell points, with the dimensions of the density: mass moves with −M grad(ξ + D log ρ).

        Without the entropy of a temperature D. See `free_energy`.

        >>> ds.gridflow.first_variation("last").sizes["x"]
        64
        """
        _, variations, numbers = evaluated(self.dataset, time, energy, directory)
        return together(variations, numbers, self.grid.order, "first_variation", "first variation of the energy")

    def predict(
        self, inputs: Any, time: Time = None, *, energy: "Energy | None" = None, directory: str | Path | None = None
    ) -> xarray.DataArray:
        """The prediction f_ρ(x) of a network at new inputs, (time, point), with several outputs (time, point, output).

        inputs : (n_points, n_inputs), or (n_points,) of one input, in the units of the data; so are the predictions, whatever the
            network was trained on (`standardize`, batch normalisation). energy, directory : as of `free_energy`

        >>> case = gridflow.load_case("teacher-1d-quadratic").replace({"space.theta.cells": 64, "time.save": 3})
        >>> gridflow.solve(case).gridflow.predict([0.0, 1.0]).round(2).to_numpy()[-1]
        array([0., 1.])

        Raises InputError for an energy without data, and for another number of inputs.
        """
        predictions, numbers = predicted(self.dataset, inputs, time, energy, directory)
        dims = ("point",) if predictions[0].ndim == 1 else ("point", "output")
        return together(predictions, numbers, dims, "prediction", "network predictions, in the units of the data")

    def plot(self, output: str | Path | None = None, overwrite: bool = False) -> "Figure":
        """`gridflow.plot` of the dataset.

        >>> figure = ds.gridflow.plot("run.png")
        """
        from gridflow.output.plotting import plot

        return plot(self.dataset, output, overwrite)

    def animate(self, output: str | Path | None = None, overwrite: bool = False) -> "Movie | Figure":
        """An animation with one frame per saved time, for a notebook; or written to `output` (.gif, .mp4), and its last frame.

        >>> figure = ds.gridflow.animate("run.gif")
        """
        from gridflow.output.movies import movie

        return movie(self.dataset, output, overwrite)

    def to_vtk(
        self, output: str | Path, time: Time = None, along: Sequence[str] = (), marginal: bool = False, overwrite: bool = False
    ) -> None:
        """`gridflow.output.vtk.to_vtk` of the dataset: a .vtu of one time, or a .pvd of several for ParaView.

        >>> ds.gridflow.to_vtk("run.pvd")
        """
        from gridflow.output.vtk import to_vtk

        to_vtk(self.dataset, output, time, along, marginal, overwrite)
