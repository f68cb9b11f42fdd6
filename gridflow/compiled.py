"""Functions compiled by numba: how they are declared, where their machine code is kept, and who is told when one is compiled.

Machine code is kept in NUMBA_CACHE_DIR where that is set, else in `__pycache__` beside the source; where that cannot be
written, or others can write to it too (`gridflow.caches`), in a folder of the user's own; where there is none, nowhere. It is
used again as long as the sources of the function and of all compiled functions that it calls are the same: numba by itself
compares one file only.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, lru_cache
from hashlib import sha256
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, ClassVar

import numba
from numba.core import config, event
from numba.core.caching import CompileResultCacheImpl, FunctionCache, NullCache, _CacheLocator
from numba.core.dispatcher import Dispatcher as NumbaDispatcher
from numba.core.extending import _Intrinsic
from numba.core.runtime import rtsys

from gridflow.caches import can_be_written, is_own_file, is_private, user_folder
from gridflow.log import LOG

njit: Any = numba.njit
Dispatcher: Any = NumbaDispatcher
Intrinsic: Any = _Intrinsic


def kernel(**options: Any) -> Callable[[Callable], Any]:
    """Declares a compiled function that Python calls, with options of numba; its machine code is kept."""

    def declared(function: Callable) -> Any:
        dispatcher = njit(error_model="numpy", **options)(function)
        if isinstance(dispatcher, Dispatcher):  # not with NUMBA_DISABLE_JIT
            dispatcher._cache = KernelCache(function, options)
        return dispatcher

    return declared


def inner(**options: Any) -> Callable[[Callable], Any]:
    """Declares a compiled function that compiled functions call, whose machine code contains its own: it is not kept."""
    return njit(error_model="numpy", no_cfunc_wrapper=True, **options)


class Place(_CacheLocator):
    """The folder of the machine code of one source file."""

    def __init__(self, function: Callable, folder: Path) -> None:
        self._py_file, self.line, self.folder = inspect.getfile(function), function.__code__.co_firstlineno, folder

    @classmethod
    def from_function(cls, py_func: Callable, py_file: str) -> "Place | None":
        """The first folder that will do, or None."""
        folder = machine_code_folder(Path(py_file).resolve().parent)
        return None if folder is None else cls(py_func, folder)

    def ensure_cache_path(self) -> None:
        """It was there, and private, when it was chosen."""

    def get_cache_path(self) -> str:
        """The folder."""
        return str(self.folder)

    def get_source_stamp(self) -> str:
        """None yet: see `KernelCache.files`."""
        return ""

    def get_disambiguator(self) -> str:
        """What tells functions of one name in one file apart."""
        return str(self.line)


class PlacedCode(CompileResultCacheImpl):
    """What numba keeps, in folders that are chosen here."""

    _locator_classes: ClassVar = [Place]  # type: ignore[misc]


class KernelFiles(FunctionCache):
    """numba's cache of one function in such a folder."""

    _impl_class = PlacedCode


@lru_cache
def machine_code_folder(source: Path) -> Path | None:
    """Where the machine code of the sources in a folder is kept."""
    name = f"{source.name}_{sha256(str(source).encode()).hexdigest()[:40]}"
    chosen: str = vars(config)["CACHE_DIR"]
    places = [Path(chosen).absolute() / name] if chosen else []
    for folder in [*places, source / "__pycache__"]:
        if is_trusted(folder):
            return folder
    of_user = user_folder("machine-code")
    return of_user / name if of_user is not None and is_trusted(of_user / name) else None


@lru_cache
def is_trusted(folder: Path) -> bool:
    """Whether a folder, which is made if need be, can be written and is private, and holds no machine code that others wrote."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return False
    code = [path for pattern in ("*.nbi", "*.nbc") for path in folder.glob(pattern)]
    return can_be_written(folder) and is_private(folder) and all(map(is_own_file, code))


class KernelCache(NullCache):
    """The kept machine code of one function, looked for when it is first called. One entry per types of the arguments."""

    def __init__(self, function: Callable, options: dict[str, Any]) -> None:
        self.function, self.options = function, options

    @cached_property
    def files(self) -> FunctionCache | None:
        """numba's cache with a stamp that covers what the function calls; None where no folder can be written."""
        try:
            files = KernelFiles(self.function)
        except RuntimeError:  # "no locator available"
            return None
        if not is_trusted(Path(files.cache_path)):  # of NUMBA_CACHE_LOCATOR_CLASSES
            return None
        files._cache_file._source_stamp = source_stamp(self.function, self.options)
        return files

    @property
    def cache_path(self) -> str | None:
        """The folder."""
        return None if self.files is None else self.files.cache_path

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The kept code for these types, or None. Of numba's target only its runtime is started: the rest serves to compile."""
        if self.files is None:
            return None
        rtsys.initialize(target_context)
        try:
            with self.files._guard_against_spurious_io_errors():
                return self.files._load_overload(sig, target_context)
        except (EOFError, UnpicklingError):  # a file that is cut off
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keeps code; a disk that is full is no reason to stop."""
        if self.files is not None:
            try:
                self.files.save_overload(sig, data)
            except OSError:
                self.files = None


def source_stamp(function: Callable, options: dict[str, Any]) -> str:
    """A digest of the sources of a function and of all compiled functions that it calls, of their constants and options."""
    todo, seen, constants = [function], set[Callable](), set[str]()
    while todo:
        one = todo.pop()
        seen.add(one)
        found = inspect.getclosurevars(one)
        for name, value in {**found.globals, **found.nonlocals}.items():
            if isinstance(value, Dispatcher):
                todo += {value.py_func} - seen
            elif isinstance(value, Intrinsic):
                seen.add(value._defn)
            elif isinstance(value, int | float | str | tuple):
                constants.add(f"{name} = {value!r}")
    digest = sha256(repr(sorted(constants)).encode())
    digest.update(repr([(k, sorted(v) if isinstance(v, set) else v) for k, v in sorted(options.items())]).encode())
    for path in sorted({one.__code__.co_filename for one in seen} | {__file__}):
        digest.update(Path(path).read_bytes() if Path(path).is_file() else b"")
    return digest.hexdigest()


@contextmanager
def on_compilation(call: Callable[[bool], None]) -> Iterator[None]:
    """Within it, the first `kernel` that is really compiled calls `call`, with whether its machine code will be kept."""

    class Once(event.Listener):
        told = False

        def on_start(self, event: Any) -> None:
            cache = event.data["dispatcher"]._cache
            LOG.debug("compiling %s", event.data["dispatcher"].py_func.__qualname__)
            if isinstance(cache, KernelCache) and not self.told:  # not what a user compiles
                self.told = True
                LOG.info("compiling functions, which takes some seconds")
                call(cache.cache_path is not None)

        def on_end(self, event: Any) -> None:
            pass

    listener = Once()
    event.register("numba:compile", listener)
    try:
        yield
    finally:
        event.unregister("numba:compile", listener)
