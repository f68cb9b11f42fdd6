"""gridflow: Wasserstein gradient flows and mean-field neural-network training, solved as densities on a grid.

    case = gridflow.load_case("bn-circle")
    dataset = gridflow.solve(case)

Everything is imported on first use, so that `import gridflow` costs nothing.
"""

import typing as _typing

if _typing.TYPE_CHECKING:
    from gridflow.case.case import Case, load_case
    from gridflow.errors import InputError, SolveError
    from gridflow.output.joining import concat
    from gridflow.output.opening import open as open
    from gridflow.output.plotting import plot
    from gridflow.particles.simulation import simulate
    from gridflow.reports.page import report
    from gridflow.solver import solve
    from gridflow.sweeps.sweep import sweep
    from gridflow.verdict.runner import validate

__version__ = "0.1.0"
__all__ = ["Case", "InputError", "SolveError", "concat", "load_case", "plot", "report", "simulate", "solve", "sweep", "validate"]
"""What `import *` brings: all but `open`, which Python has too."""

_HOME = {
    "Case": "case.case",
    "load_case": "case.case",
    "InputError": "errors",
    "SolveError": "errors",
    "concat": "output.joining",
    "open": "output.opening",
    "plot": "output.plotting",
    "report": "reports.page",
    "simulate": "particles.simulation",
    "solve": "solver",
    "sweep": "sweeps.sweep",
    "validate": "verdict.runner",
}


def __getattr__(name: str) -> _typing.Any:
    if name not in _HOME:
        raise AttributeError(f"module 'gridflow' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"gridflow.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    """What completion offers, before anything is imported."""
    return sorted([*_HOME, "__version__", "__doc__", "__file__", "__name__", "__path__"])
