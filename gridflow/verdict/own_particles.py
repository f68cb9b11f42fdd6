"""Particle runs of a user's own, in place of those that gridflow makes: read from files or datasets, and checked.

A dataset, or a NetCDF file, has the dimensions (time, particle), or (ensemble, time, particle) for several runs in one:

    time       mean-field times, among them those at which the case is compared; with time 0 the start is compared too
    NAME       the position in every factor of the space, called like it; on a surface NAME_x, NAME_y and NAME_z, or NAME with a
               further dimension of three
    weight     of the particles, (particle) or with time; by default equal, with the sum of the case

Whatever else it holds is not looked at. A CSV file has a column for each of these, and one row per particle and time; `ensemble`
and `weight` are optional there too. `ParticleRun.to_dataset` makes such a dataset. Energies and predictions are computed here,
by gridflow's energy at the particles.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray

from gridflow.energy.network.columns import lines_of, read_csv
from gridflow.errors import InputError, require, suggestion
from gridflow.files import loaded, open_netcdf, regular_file
from gridflow.memory import require_memory
from gridflow.particles.cloud import column_names
from gridflow.particles.simulation import ParticleRun
from gridflow.space.factor import Array, Factor

Source = str | Path | xarray.Dataset | ParticleRun
"""One or several runs of a user's own."""
DIMENSIONS = ("ensemble", "time", "particle")


@dataclass(frozen=True)
class OwnRun:
    """name : in messages; points : (n_times, n_particles, n_columns); weights : (n_times, n_particles), or None where equal."""

    name: str
    times: Array
    points: Array
    weights: Array | None


def own_runs(particles: Source | Sequence[Source], factors: tuple[Factor, ...]) -> list[OwnRun]:
    """All runs in files, datasets and `ParticleRun`s, one after the other. Raises InputError for what holds none."""
    sources = [particles] if isinstance(particles, str | Path | xarray.Dataset | ParticleRun) else list(particles)
    return [run for number, source in enumerate(sources) for run in runs_in(source, number, factors)]


def runs_in(source: Source, number: int, factors: tuple[Factor, ...]) -> Iterator[OwnRun]:
    """The runs in one source."""
    if isinstance(source, ParticleRun):
        received = f"run {number + 1} with the columns {', '.join(source.columns)}"
        fits = list(source.columns) == column_names(factors)
        require(fits, received, ", ".join(column_names(factors)), "run the case that is validated")
        weights = np.broadcast_to(source.weights, source.points.shape[:2])
        yield OwnRun(f"run {number + 1}", np.array(source.times), source.points, weights)
    elif isinstance(source, xarray.Dataset):
        yield from runs_of_dataset(source, f"dataset {number + 1}", factors)
    else:
        received = f"particles of type {type(source).__name__}"
        require(isinstance(source, str | Path), received, "paths, datasets and runs of gridflow.simulate", "pass one of these")
        path = Path(source)
        require(path.suffix in (".nc", ".csv"), f"particles in {path.name!r}", "a .nc or a .csv file", "convert it to one")
        if path.suffix == ".csv":
            yield from runs_of_table(path, factors)
            return
        with open_netcdf(path, "particles") as dataset:
            used = {"time", "weight", *(f.name for f in factors), *column_names(factors)}
            loaded(dataset, [str(n) for n in dataset.variables if n in used], path, "particles")
        yield from runs_of_dataset(dataset, path.name, factors)


# -------------------------------------------------------------------------------------------------------------- datasets
def runs_of_dataset(dataset: xarray.Dataset, name: str, factors: tuple[Factor, ...]) -> Iterator[OwnRun]:
    """The runs in a dataset, one for each `ensemble`. Raises InputError for variables that are missing or of other dimensions."""
    known = {str(n) for n in dataset.variables}
    together = {f.name for f in factors if f.columns == 1 or f.name in known}
    needed = [n for f in factors for n in ([f.name] if f.name in together else column_names((f,)))]
    require_names(name, "variable", ["time", *needed], known)
    times = numbers_of(dataset, name, "time", ("time",))
    blocks = [positions(dataset, name, f, f.name in together) for f in factors]
    received = f"{name}: {', '.join(f.name for f in factors)} of {', '.join(str(len(b)) for b in blocks)} ensembles"
    fix = "write all of them with the dimension `ensemble`, or none"
    require(len({len(b) for b in blocks}) == 1, received, "as many of each", fix)
    points = np.concatenate(blocks, axis=-1)
    weights = weights_of(dataset, name, points.shape[:3]) if "weight" in known - set(needed) else None
    for k in range(len(points)):
        label = f"{name}, ensemble {k + 1}" if len(points) > 1 else name
        yield OwnRun(label, times, points[k], None if weights is None else weights[k])


def positions(dataset: xarray.Dataset, name: str, factor: Factor, together: bool) -> Array:
    """Positions in a factor, (n_ensembles, n_times, n_particles, n_columns of it); together : in one variable."""
    if factor.columns == 1 or not together:
        return np.stack([numbers_of(dataset, name, n, DIMENSIONS) for n in column_names((factor,))], axis=-1)
    further = {str(d): dataset.sizes[d] for d in dataset[factor.name].dims if d not in DIMENSIONS}
    received, allowed = f"{name}: {factor.name!r} with the further dimensions {further}", f"one of length {factor.columns}"
    fix = f"write its components there, or as {', '.join(column_names((factor,)))}"
    require(list(further.values()) == [factor.columns], received, allowed, fix)
    return numbers_of(dataset, name, factor.name, (*DIMENSIONS, *further))


def weights_of(dataset: xarray.Dataset, name: str, shape: tuple[int, ...]) -> Array:
    """Weights of this shape (n_ensembles, n_times, n_particles), equal along dimensions that they do not have."""
    values = numeric(dataset, name, "weight")
    received = f"{name}: 'weight' with the dimensions ({', '.join(map(str, values.dims))})"
    fits = set(values.dims) <= set(DIMENSIONS) and values.sizes.get("ensemble", 1) in (1, shape[0])
    require(fits, received, f"some of ({', '.join(DIMENSIONS)}), as positions have", "rename or select dimensions")
    found = values.transpose(*(d for d in DIMENSIONS if d in values.dims)).to_numpy().astype(float)
    return np.broadcast_to(found[tuple(slice(None) if d in values.dims else None for d in DIMENSIONS)], shape)


def numeric(dataset: xarray.Dataset, name: str, variable: str) -> xarray.DataArray:
    """A variable. Raises InputError for one that does not hold numbers."""
    values = dataset[variable]
    received = f"{name}: {variable!r} holds {values.dtype}"
    fix = "write mean-field time without units of time" if variable == "time" else "convert it"
    require(values.dtype.kind in "fiu", received, "numbers", fix)
    return values


def numbers_of(dataset: xarray.Dataset, name: str, variable: str, dims: tuple[str, ...]) -> Array:
    """A variable as numbers with these dimensions, in this order; one ensemble where there is no such dimension."""
    values = numeric(dataset, name, variable)
    if "ensemble" in dims and "ensemble" not in values.dims:
        values = values.expand_dims("ensemble")
    allowed = f"the dimensions ({', '.join(d for d in dims if d != 'ensemble')}), or with ensemble before them"
    received = f"{name}: {variable!r} with the dimensions ({', '.join(map(str, dataset[variable].dims))})"
    require(set(values.dims) == set(dims), received, allowed, "rename or select dimensions")
    return np.asarray(values.transpose(*dims).to_numpy(), dtype=float)


def require_names(name: str, kind: str, needed: list[str], known: Collection[str]) -> None:
    """Raises InputError for a name that a source lacks."""
    missing = next((n for n in needed if n not in known), "")
    allowed = f"{', '.join(needed)}; it has {', '.join(sorted(known))}"
    require(not missing, f"{name} without the {kind} {missing!r}", allowed, suggestion(missing, known) or f"add {missing}")


# ---------------------------------------------------------------------------------------------------------------- tables
def runs_of_table(path: Path, factors: tuple[Factor, ...]) -> Iterator[OwnRun]:
    """The runs in a CSV file. Raises InputError for columns that are missing, and for times with different numbers of rows."""
    needed = ["time", *column_names(factors)]
    size = regular_file(path, "particles").stat().st_size
    require_memory(f"particles: {path.name!r}", 4 * size, "use fewer particles")  # 8 bytes for numbers of 3 letters, and a copy
    try:
        with path.open(encoding="utf-8") as file:
            header = [entry.strip() for entry in next(lines_of(file), "").split(",")]
            require_names(path.name, "column", needed, header)
            file.seek(0)
            optional = [n for n in ("ensemble", "weight") if n in header and n not in needed]
            columns = read_csv(file, path.name, [*needed, *optional])
    except (OSError, UnicodeDecodeError) as error:
        fix = "convert it, or check its permissions"
        raise InputError(f"{path.name!r} cannot be read as text in UTF-8", "a CSV file", fix) from error
    for name in {"time", "ensemble"} & set(columns):
        received = f"{path.name}: entries of the column {name!r} that are no numbers"
        require(bool(np.isfinite(columns[name]).all()), received, "finite numbers", "complete the rows")
    ensemble = columns.get("ensemble", np.zeros(len(columns["time"])))
    labels = np.unique(ensemble)
    for label in labels:
        rows = np.flatnonzero(ensemble == label)
        name = f"{path.name}, ensemble {label:g}" if labels.size > 1 else path.name
        yield run_of_rows(name, {n: column[rows] for n, column in columns.items()}, needed[1:])


def run_of_rows(name: str, columns: dict[str, Array], positions: list[str]) -> OwnRun:
    """The run in rows of one ensemble, which stand in any order of the times."""
    times, sizes = np.unique(columns["time"], return_counts=True)
    wrong = [f"{size} at {time:g}" for time, size in zip(times, sizes, strict=True) if size != sizes[0]]
    received = f"{name} with {sizes[0]} rows at time {times[0]:g}, {', '.join(wrong[:3])}"
    require(not wrong, received, "as many particles at every time", "complete the times, or leave the others out")
    order = np.argsort(columns["time"], kind="stable")
    shape = (times.size, int(sizes[0]))
    points = np.stack([columns[n][order].reshape(shape) for n in positions], axis=-1)
    return OwnRun(name, times, points, columns["weight"][order].reshape(shape) if "weight" in columns else None)
