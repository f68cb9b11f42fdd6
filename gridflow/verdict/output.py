"""The files of a verdict: its dataset, its picture, and the folder of finished runs until both are written."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gridflow.errors import InputError, require
from gridflow.files import check_new_file, loaded, open_netcdf
from gridflow.netcdf import write_dataset
from gridflow.output.kept import publish
from gridflow.output.lock import locked

if TYPE_CHECKING:
    import xarray

    from gridflow.case.case import Case

ENDING = ".run"
"""Of the file of a finished run."""


PURPOSE = "a verdict to go on with"
TEXTS, NUMBERS, ROWS = ("verdict", "table"), ("worth", "detects"), ("quantity", "outcome", "threshold", "reason")
"""Attributes that every verdict has, attributes that some have, and what it says of each quantity: all that is printed."""


@dataclass(frozen=True)
class Output:
    """name : of the case."""

    name: str
    directory: Path

    @property
    def data(self) -> Path:
        """The NetCDF file."""
        return self.directory / f"{self.name}-validation.nc"

    @property
    def picture(self) -> Path:
        """The picture."""
        return self.data.with_suffix(".png")

    @property
    def kept(self) -> Path:
        """The folder of finished runs."""
        return self.data.with_suffix(".kept")

    @property
    def number_kept(self) -> int:
        """How many finished runs there are."""
        return len(list(self.kept.glob(f"*{ENDING}")))

    def remove_kept(self) -> None:
        """Removes the finished runs, and their folder where nothing else is in it."""
        for path in self.kept.glob(f"*{ENDING}*"):
            path.unlink()
        if self.kept.is_dir() and not any(self.kept.iterdir()):
            self.kept.rmdir()

    def remove_left(self) -> None:
        """Removes what is left by a process that was killed when its files were complete."""
        with locked(self.data):
            self.remove_kept()

    def check_directory(self) -> None:
        """Creates the directory where it is missing. Raises InputError where it cannot be one."""
        directory = self.directory
        possible = directory.is_dir() or not directory.exists()
        require(possible, f"the output {str(directory)!r} is not a directory", "a directory", "choose another name")
        try:
            directory.mkdir(exist_ok=True)
        except OSError as error:
            received = f"the directory {str(directory)!r} cannot be created: {error.strerror}"
            raise InputError(received, "a writable place", "create it first") from None

    def check(self, overwrite: bool, resume: bool) -> None:
        """Raises InputError, before any work is done, for files that exist or cannot be written."""
        check_new_file(self.data, {self.data.suffix}, overwrite)
        begun = resume and self.kept.exists()  # a picture without data: a process was killed between the two
        check_new_file(self.picture, {self.picture.suffix}, overwrite or begun)

    def check_kept(self, overwrite: bool, resume: bool) -> None:
        """Raises InputError for finished runs of a validation before that nobody says what to do with."""
        received = f"{self.kept.name!r} exists: a validation that was interrupted or killed"
        fix = "add --resume to go on with it, or --overwrite to start anew"
        require(overwrite or resume or not self.kept.exists(), received, "a new validation", fix)

    def complete(self, case: "Case", quick: bool) -> "xarray.Dataset | None":
        """The verdict where both files are complete and of this case, by this version; else None."""
        if not (self.data.is_file() and self.picture.is_file()):
            return None
        from gridflow.output.dataset import attributes

        mine = attributes(case, "validate") | {"quick": int(quick)}
        with open_netcdf(self.data, PURPOSE) as file:
            if not all(np.array_equal(file.attrs.get(name, ""), mine[name]) for name in ("case", "gridflow_version", "quick")):
                return None
            loaded(file, [str(name) for name in file.variables], self.data, PURPOSE)
        check_verdict(file, self.data.name)
        return file

    def write(self, result: "xarray.Dataset") -> None:
        """Writes the dataset and its picture; both files appear complete or not at all, the dataset last."""
        from gridflow.verdict.picture import verdict_figure

        parts = {path: path.with_name(path.name + ".part") for path in (self.data, self.picture)}
        try:
            write_dataset(result, parts[self.data])
            verdict_figure(result).savefig(parts[self.picture], dpi=110, format="png")
            for path in (self.picture, self.data):
                publish(parts[path], path)
        finally:
            for part in parts.values():
                part.unlink(missing_ok=True)


def check_verdict(file: "xarray.Dataset", name: str) -> None:
    """Raises InputError where something is missing of what is printed of a verdict."""
    texts = all(isinstance(file.attrs.get(n), str) for n in TEXTS) and isinstance(file.attrs.get("warnings", ""), str)
    numbers = all(isinstance(file.attrs.get(n, 0.0), float) for n in NUMBERS)
    rows = all(n in file.variables and file[n].dims == ("quantity",) for n in ROWS)
    received = f"{PURPOSE}: {name!r} is damaged: attributes or variables of a verdict are missing, or of other types"
    require(texts and numbers and rows, received, "a verdict of gridflow validate", "start anew with --overwrite")
