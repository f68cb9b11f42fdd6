"""What an mpiexec tells the processes that it starts, by their environment: read without MPI."""

import os
import shutil
import sys
import time
from pathlib import Path

PATIENCE = 5.0
"""Seconds that a process with an error waits for the others to meet the same."""
SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MPI_LOCALNRANKS")
LOCAL_SIZES = ("MPI_LOCALNRANKS", "OMPI_COMM_WORLD_LOCAL_SIZE")
NUMBERS = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "MPI_LOCALRANKID")
"""What the mpiexec of MPICH, Intel and Open MPI, and Slurm, tell a process: how many there are, and its number."""


def announced(names: tuple[str, ...], otherwise: int) -> int:
    """The first of these numbers in the environment."""
    found = [os.environ[name] for name in names if os.environ.get(name, "").isdigit()]
    return int(found[0]) if found else otherwise


def launched() -> int:
    """Processes that an mpiexec has started, as far as it says so, or MPI where it has been imported; 1 without."""
    mpi = sys.modules.get("mpi4py.MPI")
    return announced(SIZES, 1 if mpi is None else int(mpi.COMM_WORLD.size))


def launched_rank() -> int:
    """The number among them."""
    return announced(NUMBERS, 0)


def launched_here() -> float:
    """Share of these processes that is on this machine, as far as mpiexec says so."""
    count = launched()
    slurm = os.environ.get("SLURM_STEP_TASKS_PER_NODE", "") if "PMIX_RANK" in os.environ else ""  # "4(x2),3": the first node
    tasks = slurm.partition(",")[0].partition("(")[0]
    return min(announced(LOCAL_SIZES, int(tasks) if tasks.isdigit() else count), count) / count


def end_all(text: str = "") -> None:
    """Ends all processes of an mpiexec, where one cannot go on and others would wait for it; nothing without."""
    if launched() == 1:
        return
    if text:
        print(f"gridflow: process {launched_rank()} of {launched()}: {text}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    if (mpi := sys.modules.get("mpi4py.MPI")) is not None:
        mpi.COMM_WORLD.Abort(1)
    os._exit(1)


def end_together(text: str) -> None:
    """Returns where all processes of an mpiexec come to it, as with input that is wrong in all of them; else ends them."""
    mpi = sys.modules.get("mpi4py.MPI")
    if launched() == 1 or mpi is None or mpi.COMM_WORLD.size == 1:
        return
    all_here, waited = mpi.COMM_WORLD.Ibarrier(), time.monotonic()
    while not all_here.Test():
        if time.monotonic() - waited > PATIENCE:
            end_all(text)
        time.sleep(0.01)


def mpiexec_path() -> str | None:
    """The mpiexec beside this Python, where a package has brought one, else that of the system."""
    beside = Path(sys.executable).with_name("mpiexec")
    return str(beside) if beside.exists() else shutil.which("mpiexec")
