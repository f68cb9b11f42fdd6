"""Datasets with `ds.gridflow`: opened from a file, or of a run that has just ended."""

from pathlib import Path

import xarray

import gridflow.accessor  # noqa: F401 (it registers itself)
from gridflow.files import open_netcdf
from gridflow.netcdf import read_dataset
from gridflow.output.rebuilt import DIRECTORY
from gridflow.output.spaces import check_schema


def with_directory(dataset: xarray.Dataset, directory: str) -> xarray.Dataset:
    """The dataset, which remembers in memory where the relative paths of its case start."""
    dataset.encoding[DIRECTORY] = directory
    return dataset


def open(path: str | Path) -> xarray.Dataset:
    """A result from its file, also of a run that is still going on (NAME.nc.part). Values are read when they are used.

    >>> case = gridflow.load_case("ornstein-uhlenbeck").replace({"space.x.cells": 64, "time.save": 3})
    >>> _ = gridflow.solve(case, "run.nc")
    >>> gridflow.open("run.nc").gridflow.marginal("x").dims
    ('time', 'x')

    Raises InputError for a file that is not there, not NetCDF, or without a density on cells.
    """
    with open_netcdf(Path(path), "open") as dataset:
        check_schema(dataset, f"open {Path(path).name!r}")
    return read_dataset(path, decode_coords="all")
