"""The one door to pykeops, which compiles sums over pairs of points for GPUs, or slowly for CPUs.

It compiles formulas when they are first used and keeps them in a folder, from which it also unpickles: the folder is one of our
own that nobody else can write, and one process at a time looks for, compiles and loads a formula. A process that was killed
while it compiled leaves a folder that fails for good; it is emptied once and filled again. pykeops writes to stdout unless
silenced, and does not survive a fork.
"""

import ctypes.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Lock
from typing import Any

from gridflow.caches import user_folder
from gridflow.space.factor import Array
from gridflow.threads import threads_allowed

BROKEN = (ImportError, EOFError, OSError, AttributeError)
"""What a damaged folder, a missing compiler or missing headers of Python raise, at import or at the first call."""


class KeOpsUnavailable(Exception):
    """pykeops cannot be imported, or cannot compile."""


def cuda_library() -> str | None:
    """The driver of NVIDIA's GPUs, or None."""
    return ctypes.util.find_library("cuda")


@lru_cache
def gpu_available() -> bool:
    """Whether pykeops finds a GPU. Without a driver on the machine it is not even imported."""
    if cuda_library() is None:
        return False
    try:
        return bool(attempt_twice(lambda: import_pykeops().config.gpu_available))
    except KeOpsUnavailable:
        return False


def device() -> str:
    """Where pykeops computes: "gpu" or "cpu"."""
    return "gpu" if gpu_available() else "cpu"


def backend() -> str:
    """On a GPU the scheme that splits both rows and columns: 1.4 to 6 times as fast as the default below 40,000 points (H200)."""
    return "GPU_2D" if gpu_available() else "auto"


ONE_AT_A_TIME = Lock()
"""Of calls in several threads: each fills the device."""


@contextmanager
def allowed_threads() -> Iterator[None]:
    """On a CPU, the threads of OpenMP are those that the work under way may use."""
    if gpu_available():
        yield
        return
    with openmp().limit(limits=threads_allowed(), user_api="openmp"):
        yield


@lru_cache
def openmp() -> Any:
    """The libraries that pykeops has loaded."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


class Reduction:
    """log Σ_j e^formula or Σ_j formula over the rows y of the `Vj` arguments, one row of results per row of the `Vi` arguments.

    formula, arguments : as for `pykeops.numpy.Genred`; operation : "LogSumExp" or "Sum"
    """

    def __init__(self, formula: str, arguments: list[str], operation: str) -> None:
        self.recipe = formula, arguments, operation
        self.call: Callable[..., Array] | None = None

    def __call__(self, *values: Array) -> Array:
        """(n_rows, dimension of the formula). Raises KeOpsUnavailable."""
        if self.call is not None:
            with ONE_AT_A_TIME, allowed_threads():
                return self.call(*values, backend=backend())
        backend()  # looks for a GPU, which takes the lock of the folder
        result: Array = attempt_twice(lambda: self.first_call(*values))
        return result

    def first_call(self, *values: Array) -> Array:
        """The sum, with the formula looked up, compiled and loaded. To be called in `private_folder`."""
        formula, arguments, operation = self.recipe
        import_pykeops()
        from pykeops.numpy import Genred

        call = Genred(formula, arguments, reduction_op=operation, axis=1)
        result: Array = call(*values, backend=backend())
        self.call = call
        openmp.cache_clear()  # which is loaded by now
        return result


def attempt_twice(work: Callable[[], Any]) -> Any:
    """What `work` returns in `private_folder`, which is emptied after a first failure. Raises KeOpsUnavailable after a second."""
    with private_folder() as folder:
        try:
            return work()
        except BROKEN:
            empty(folder)
        try:
            return work()
        except BROKEN as error:
            raise KeOpsUnavailable(f"{type(error).__name__}: {error}") from error


def import_pykeops() -> Any:
    """The package, silent. To be called in `private_folder`."""
    os.environ.setdefault("PYKEOPS_VERBOSE", "0")
    os.environ.setdefault("KEOPS_VERBOSE", "0")
    load_shared_libstdcxx()
    import pykeops

    return pykeops


def load_shared_libstdcxx() -> None:
    """Load the C++ library of the system for all that comes after.

    A g++ that links its own copy into what it compiles, as some toolchains on GPU machines do, makes binders that crash the
    process at their first use. With a shared copy loaded before, their symbols resolve to that one.
    """
    if sys.platform == "linux" and ctypes.util.find_library("stdc++") is not None:
        ctypes.CDLL(ctypes.util.find_library("stdc++"), mode=ctypes.RTLD_GLOBAL)


@contextmanager
def private_folder() -> Iterator[Path]:
    """The folder of compiled formulas, locked for this process."""
    import fcntl  # pykeops runs where this exists

    folder = keops_folder()
    os.environ["KEOPS_CACHE_FOLDER"] = str(folder)
    with (folder.parent / "keops.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def pykeops_version() -> str:
    """Of the package that is installed, or "none"."""
    try:
        return version("pykeops")
    except PackageNotFoundError:
        return "none"


@lru_cache
def keops_folder() -> Path:
    """CACHE/gridflow/keops-VERSION (`gridflow.caches`); where there is none, a temporary folder of this process."""
    folder = user_folder(f"keops-{pykeops_version()}")
    if folder is None:
        temporary = tempfile.TemporaryDirectory(prefix="gridflow-keops-")  # with a random name, mode 0700
        kept_alive.append(temporary)
        folder = Path(temporary.name) / "keops"
        folder.mkdir(mode=0o700)
    return folder


kept_alive: list[Any] = []


def empty(folder: Path) -> None:
    """Remove what was compiled, and what was imported from it, so that the next attempt starts anew."""
    for entry in folder.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    for name in [n for n in sys.modules if n.split(".")[0] in {"pykeops", "keopscore"} or n.startswith("pykeops_")]:
        del sys.modules[name]
