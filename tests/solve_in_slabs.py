"""Run by `mpiexec -n P python tests/solve_in_slabs.py FOLDER`: the cases of FOLDER in slabs, all in one start of MPI.

Each rank also turns fields back and forth; the numbers that it finds wrong end it with an error.
"""

import sys
from pathlib import Path

import numpy as np

from gridflow.case.case import load_case
from gridflow.slabs.ranks import Ranks, ranks
from gridflow.solver import solve_to_file


def check_turning(own: Ranks) -> None:
    """A field cut across its middle axis has whole lines after it is turned, and is as it was when it is turned back."""
    for before, after in ((5, 1), (1, 7), (2, 3), (1, 1)):
        n = 11
        ends = np.array([n * k // own.size for k in range(own.size + 1)])
        whole = np.arange(before * n * after, dtype=float).reshape(before, n, after)
        mine = np.ascontiguousarray(whole[:, ends[own.rank] : ends[own.rank + 1]])
        turned = own.turned(mine, ends)
        side = 0 if before >= after else 2
        np.testing.assert_array_equal(turned, np.array_split(whole, own.size, axis=side)[own.rank])
        np.testing.assert_array_equal(own.turned_back(turned, ends, mine.shape), mine)


def main(folder: Path) -> None:
    """Solves every case into FOLDER/NAME.P.nc."""
    own = ranks()
    assert own is not None, "no other rank"
    check_turning(own)
    for path in sorted(folder.glob("*.toml")):
        solve_to_file(load_case(path), folder / f"{path.stem}.{own.size}.nc", ranks=own)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
