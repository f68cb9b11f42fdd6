"""`gridflow doctor`: what works on this machine, and how to repair what does not.

Every check is run, not looked up: functions are compiled, a file is written, a picture is drawn, and pykeops is tried in a child
process. What gridflow needs is told apart from what only adds speed or formats.
"""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Literal

from gridflow.errors import InputError

State = Literal["works", "lacks", "broken"]
PACKAGES = {"numpy": "numpy", "scipy": "scipy", "numba": "numba", "xarray": "xarray", "netCDF4": "netcdf4", "msgspec": "msgspec"}
"""Modules that gridflow needs, and the packages that bring them."""
MPI_SECONDS = 30.0
"""For two processes to find each other: a second where nothing else runs."""
INSTALL = "install gridflow again: pip install --force-reinstall gridflow"


@dataclass(frozen=True)
class Finding:
    """What a check found. state : "lacks" of a part that is optional and not there; fix : empty where nothing is to be done."""

    name: str
    state: State
    found: str
    fix: str = ""
    needed: bool = True

    @property
    def good(self) -> bool:
        """Whether gridflow does its work with it."""
        return self.state == "works" or not self.needed

    def text(self) -> str:
        """A line, and one for the fix."""
        mark = {"works": "works ", "lacks": "lacks ", "broken": "BROKEN" if self.needed else "broken"}[self.state]
        fix = f"\n{'':22}fix: {self.fix}" if self.fix else ""
        return f"{mark}  {self.name:<12}  {self.found}{fix}"


def findings() -> list[Finding]:
    """All checks, in the order of a run."""
    return [checked(name, check) for name, check in CHECKS.items()]


def checked(name: str, check: Callable[[str], Finding]) -> Finding:
    """A check that fails in a way of its own is a finding too."""
    try:
        return check(name)
    except Exception as error:
        return Finding(name, "broken", f"{type(error).__name__}: {error}", INSTALL, needed=name not in OPTIONAL)


def check_packages(name: str) -> Finding:
    """Python and what gridflow is built on."""
    words, missing = [f"Python {platform.python_version()}"], []
    for module, package in PACKAGES.items():
        try:
            import_module(module)
            words.append(f"{module} {version(package)}")
        except (ImportError, PackageNotFoundError) as error:
            missing.append(f"{module} ({error})")
    if missing:
        return Finding(name, "broken", f"cannot import {', '.join(missing)}", INSTALL)
    return Finding(name, "works", ", ".join(words))


def check_compiled(name: str) -> Finding:
    """A compiled sum beside its definition, and where its machine code is kept."""
    import numpy as np

    from gridflow.compiled import KernelCache
    from gridflow.sums.kernels import Gaussian, gaussian_sum

    x, w = np.linspace(0.0, 1.0, 12).reshape(4, 3), np.ones(4)
    found, right = gaussian_sum(x, x, w, 1.0, True), Gaussian(0.5**0.5).by_numpy(x, x, w)
    if not all(np.allclose(a, b, rtol=1e-13, atol=1e-13) for a, b in zip(found, right, strict=True)):
        return Finding(name, "broken", "a compiled sum is wrong", "another version of numba: pip install --upgrade gridflow")
    cache = gaussian_sum._cache
    if not isinstance(cache, KernelCache):
        return Finding(name, "broken", "functions are not compiled", "unset NUMBA_DISABLE_JIT: runs take a hundred times as long")
    if cache.cache_path is None:
        fix = "set NUMBA_CACHE_DIR to a folder that can be written, else every run compiles for some seconds"
        return Finding(name, "lacks", "functions are compiled in every run, and not kept", fix, needed=False)
    return Finding(name, "works", f"kept in {cache.cache_path}")


def check_threads(name: str) -> Finding:
    """What a run uses."""
    from gridflow.threads import VARIABLE, runs_side_by_side, thread_count

    cpus = os.cpu_count() or 1
    try:
        chosen, side_by_side = thread_count(None), runs_side_by_side(None)
    except InputError as error:
        return Finding(name, "broken", str(error).splitlines()[0], f"set {VARIABLE} to a whole number, or unset it")
    run = f"a run has {chosen or 1}" + (f" ({VARIABLE})" if chosen else f" (--threads N or {VARIABLE} for more)")
    return Finding(name, "works", f"{cpus} CPUs; {run}; a verdict makes {side_by_side} particle runs side by side")


def check_blas(name: str) -> Finding:
    """The library of NumPy's matrix products, whose threads gridflow limits."""
    import numpy as np
    from threadpoolctl import threadpool_info

    a = np.arange(6.0).reshape(2, 3)
    right = np.array_equal(a @ a.T, [[5.0, 14.0], [14.0, 50.0]])
    pools = [p for p in threadpool_info() if p["user_api"] == "blas"]
    words = ", ".join(f"{p['internal_api']} {p['version']}" for p in pools)
    if not right:
        return Finding(name, "broken", f"a matrix product is wrong ({words})", "install numpy again")
    if not pools:
        return Finding(name, "lacks", "a library whose threads cannot be limited", "set OMP_NUM_THREADS=1", needed=False)
    return Finding(name, "works", words)


def check_engine(name: str) -> Finding:
    """What the environment says of sums over pairs."""
    from gridflow.sums.choice import VARIABLE, chosen_engine

    try:
        return Finding(name, "works", f"{chosen_engine()}, unless a case chooses ({VARIABLE})")
    except InputError as error:
        allowed = "auto, numpy, numba or keops"
        return Finding(name, "broken", str(error).splitlines()[0], f"set {VARIABLE} to {allowed}, or unset it")


def check_keops(name: str) -> Finding:
    """A sum by pykeops in a child process; on a CPU where there is no GPU."""
    from gridflow.sums import keops, probe

    found = probe.probe()
    folder = f"formulas are kept in {keops.keops_folder()}"
    if found.works:
        slow = "" if found.device == "gpu" else " (slower than numba there: on request only)"
        return Finding(name, "works", f"on the {found.device}{slow}; {folder}", needed=False)
    return Finding(name, "broken", found.reason, keops_fix(found.reason), needed=False)


def keops_fix(reason: str) -> str:
    """By the ways in which pykeops is known to fail."""
    from gridflow.sums import keops

    if keops.pykeops_version() == "none":
        return "pip install pykeops; numba does without"
    folder, compiler = keops.keops_folder(), os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        return f"install {compiler} and the headers of Python (g++ and python3-dev), or set CXX; numba does without"
    if "crashed" in reason:
        why = "a g++ that links libstdc++ statically crashes so"
        return f"{why}: set CXX to the g++ of the system, for example CXX=/usr/bin/g++, and empty {folder}"
    if "pykeops_cpp" in reason:
        why = f"{compiler} cannot compile the formula"
        return f"{why}: install the headers of Python (python3-dev), or set CXX to another compiler, and empty {folder}"
    return f"empty {folder} and try again"


def check_gpu(name: str) -> Finding:
    """The driver; whether sums run there says the check before."""
    from gridflow.sums import keops, probe

    library = keops.cuda_library()
    if library is None:
        return Finding(name, "lacks", "no driver of NVIDIA (libcuda); sums are compiled for the CPU", needed=False)
    if probe.known_probe().device == "gpu":
        return Finding(name, "works", f"{library}; sums over more than 10⁷ pairs run there", needed=False)
    fix = "see nvidia-smi, and the check of keops above; pykeops needs the headers of CUDA beside the driver"
    return Finding(name, "broken", f"{library} is there, and pykeops does not use it", fix, needed=False)


def check_netcdf(name: str) -> Finding:
    """A file, written and read."""
    import numpy as np
    import xarray

    from gridflow.netcdf import read_dataset, write_dataset

    with tempfile.TemporaryDirectory(prefix="gridflow-") as folder:
        path = Path(folder) / "a.nc"
        write_dataset(xarray.Dataset({"a": ("x", np.arange(3.0))}), path)
        with read_dataset(path) as read:
            same = np.array_equal(read["a"], np.arange(3.0))
    if not same:
        return Finding(name, "broken", "a file does not hold what was written", "install netcdf4 again")
    return Finding(name, "works", f"files are written and read (netCDF4 {version('netcdf4')})")


def check_pictures(name: str) -> Finding:
    """A picture, without a display."""
    from matplotlib.figure import Figure

    figure, picture = Figure(), BytesIO()
    figure.subplots().plot([0, 1])
    figure.savefig(picture, format="png")
    good = picture.getvalue().startswith(b"\x89PNG")
    found = f"drawn without a display (matplotlib {version('matplotlib')})" if good else "no picture was drawn"
    return Finding(name, "works" if good else "broken", found, "" if good else "install matplotlib again")


def check_movies(name: str) -> Finding:
    """ffmpeg, for .mp4."""
    if shutil.which("ffmpeg") or find_spec("imageio_ffmpeg"):
        return Finding(name, "works", ".gif and .mp4", needed=False)
    return Finding(name, "lacks", ".gif alone: no ffmpeg", "pip install 'gridflow[movie]' for .mp4", needed=False)


def check_mpi(name: str) -> Finding:
    """Two processes of an mpiexec that find each other."""
    from gridflow.launched import mpiexec_path

    install = "pip install 'gridflow[mpi]' for grids larger than one machine"
    if find_spec("mpi4py") is None:
        return Finding(name, "lacks", "no mpi4py: one process for a grid", install, needed=False)
    command = mpiexec_path()
    if command is None:
        return Finding(name, "lacks", "mpi4py without an mpiexec", install, needed=False)
    code = "from mpi4py import MPI; print(MPI.COMM_WORLD.allreduce(1), MPI.Get_library_version().splitlines()[0].strip(chr(0)))"
    try:
        words = [command, "-n", "2", sys.executable, "-c", code]
        ran = subprocess.run(words, capture_output=True, text=True, timeout=MPI_SECONDS, check=False)
        lines = ran.stdout.splitlines()
        failed = ran.stderr.strip().splitlines()[-1:] if ran.returncode else []
    except (OSError, subprocess.TimeoutExpired) as error:
        lines, failed = [], [str(error)]
    if len(lines) == 2 and all(line.startswith("2 ") for line in lines):
        library = " ".join(lines[0][2:].replace("Version:", "").split())
        return Finding(name, "works", f"{library}: {command} -n P gridflow solve CASE", needed=False)
    found = failed[0] if failed else f"processes of {command} do not find each other"
    fix = "use the mpiexec of the MPI that mpi4py was built with, or pip install 'gridflow[mpi]' anew"
    return Finding(name, "broken", found, fix, needed=False)


CHECKS: dict[str, Callable[[str], Finding]] = {
    "packages": check_packages,
    "compiler": check_compiled,
    "threads": check_threads,
    "blas": check_blas,
    "engine": check_engine,
    "keops": check_keops,
    "gpu": check_gpu,
    "netcdf": check_netcdf,
    "pictures": check_pictures,
    "movies": check_movies,
    "mpi": check_mpi,
}
OPTIONAL = {"keops", "gpu", "movies", "mpi"}
"""Checks of what gridflow does without."""


def report(found: list[Finding]) -> str:
    """For a terminal: the findings, and what they mean together."""
    bad = [f.name for f in found if not f.good]
    last = f"gridflow cannot work here as it is: {', '.join(bad)}" if bad else "everything that gridflow needs works"
    return "\n".join([*(f.text() for f in found), f"{last} ({sys.executable})"])
