"""Strict tests: numpy errors are raised, warnings are errors (pyproject.toml), random numbers are seeded.

Tests marked `gpu` are skipped where there is no GPU, which the summary counts (`pytest -rs` says why); `pytest -m gpu` runs all.
"""

from collections.abc import Iterator

import numpy as np
import pytest

from gridflow.sums.keops import cuda_library


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--runslow", action="store_true", help="run the slow tests too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if cuda_library() is None:
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="gpu: no driver of a GPU (libcuda) on this machine"))
    if not config.getoption("--runslow"):
        for item in items:
            if "slow" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="slow: needs --runslow"))


@pytest.fixture(autouse=True)
def numpy_errors_are_raised() -> Iterator[None]:
    """Underflow stays silent: the tails of a Gaussian are meant to vanish."""
    with np.errstate(divide="raise", over="raise", invalid="raise"):
        yield


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20261121)
