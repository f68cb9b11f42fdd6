"""Threads: what a call chooses holds while it lasts, and the process is as it was before when it ends, however it ends."""

import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import numpy as np
import pytest
import scipy.linalg  # noqa: F401 - loads its BLAS, so that the fixture reaches it
from helpers import QUADRATIC, case_of
from threadpoolctl import threadpool_info, threadpool_limits

import gridflow
from gridflow.energy.base import BoundEnergy, Energy, Evaluation
from gridflow.errors import InputError
from gridflow.netcdf import ONE_THREAD
from gridflow.particles.integrator import RungeKutta2
from gridflow.threads import blas_threads, helper_threads, runs_side_by_side, share_out, thread_count


def of_blas() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


class Watching(Energy, BoundEnergy):
    """E = 0; remembers the threads of BLAS at every evaluation, and fails at one of them."""

    def __init__(self, fails=None):
        self.seen, self.fails = [], fails

    def bind(self, grid):
        return self

    def evaluate(self, mass):
        self.seen.append(of_blas())
        if self.fails is not None and len(self.seen) == self.fails:
            raise RuntimeError("on purpose")
        return Evaluation(0.0, np.zeros(mass.shape), 0.0)


CASE = {**{k: v for k, v in QUADRATIC.items() if k != "exact"}, "time": {"stop": 0.1, "save": 3}}


@pytest.fixture(autouse=True)
def three_threads(monkeypatch):
    """A process with three threads of BLAS, whatever the machine, and no choice in the environment."""
    monkeypatch.delenv("GRIDFLOW_THREADS", raising=False)
    with threadpool_limits(3, user_api="blas"):
        yield


@pytest.mark.parametrize(("chosen", "environment", "expected"), [(None, None, 1), (2, None, 2), (None, "2", 2), (1, "2", 1)])
def test_a_run_has_the_threads_that_it_chooses(chosen, environment, expected, monkeypatch):
    if environment is not None:
        monkeypatch.setenv("GRIDFLOW_THREADS", environment)
    energy = Watching()
    gridflow.solve(case_of(CASE), energy=energy, threads=chosen)
    assert all(seen == {expected} for seen in energy.seen)
    assert of_blas() == {3}


def test_threads_are_restored_after_an_error():
    with pytest.raises(RuntimeError, match="on purpose"):
        gridflow.solve(case_of(CASE), energy=Watching(fails=5))
    assert of_blas() == {3}


def test_calls_side_by_side_share_one_limit():
    """The first sets it, the last restores it, in whatever order they end."""
    one, two = blas_threads(1), blas_threads(2)
    one.__enter__()
    two.__enter__()
    one.__exit__(None, None, None)
    assert of_blas() == {1}
    two.__exit__(None, None, None)
    assert of_blas() == {3}
    with ThreadPoolExecutor(4) as pool:
        runs = pool.map(lambda seed: gridflow.simulate(case_of(CASE), 8, seed=seed, integrator=RungeKutta2(0.05)), range(12))
    assert len(list(runs)) == 12
    assert of_blas() == {3}


def test_particle_runs_side_by_side(monkeypatch):
    assert runs_side_by_side(3) == 3
    assert runs_side_by_side(None) >= 1
    monkeypatch.setenv("GRIDFLOW_THREADS", "5")
    assert runs_side_by_side(None) == 5


@pytest.mark.parametrize("wrong", [0, -1, "two", 1.5, True, 10**6])
def test_wrong_numbers_are_refused(wrong):
    with pytest.raises(InputError, match=r"threads = (?s:.)*a whole number"):
        gridflow.solve(case_of(CASE), threads=wrong)


def test_a_wrong_environment_is_named(monkeypatch):
    monkeypatch.setenv("GRIDFLOW_THREADS", "many")
    with pytest.raises(InputError, match="GRIDFLOW_THREADS = 'many'"):
        thread_count(None)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("parts", [0, 1, 2, 7, 100])
def test_every_part_is_done_once(threads, parts):
    done = []
    with blas_threads(threads):
        share_out(lambda first, last: done.extend(range(first, last)), parts)
    assert sorted(done) == list(range(parts))


def test_parts_run_side_by_side():
    """Two parts that wait for each other end only on two threads."""
    meeting = Barrier(2, timeout=30)
    with blas_threads(2):
        share_out(lambda first, last: meeting.wait() and None, 2)


def test_a_busy_helper_is_not_waited_for():
    """The calling thread does what nobody else has begun."""
    release, done = Event(), []
    with blas_threads(2):
        blocked = helper_threads(1).submit(release.wait)
        share_out(lambda first, last: done.extend(range(first, last)), 5)
        release.set()
        blocked.result()
    assert done == list(range(5))


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_in_a_part_is_raised(threads):
    def fails(first, last):
        raise ValueError("on purpose")

    with blas_threads(threads), pytest.raises(ValueError, match="on purpose"):
        share_out(fails, 3)


def test_without_a_choice_there_is_one_thread():
    seen = set()
    share_out(lambda first, last: seen.add(threading.get_ident()), 20)
    assert seen == {threading.get_ident()}


def test_implicit_lines_are_the_same_for_any_number_of_threads():
    """Lines are shared out in whole blocks, whatever their stride; 2¹⁶ cells are enough to be."""
    from gridflow.scheme.finite_volume.axis import NO_DRIFT, Drift
    from gridflow.scheme.finite_volume.implicit import axis_of
    from gridflow.space.grid import Grid
    from gridflow.space.line import Interval

    grid = Grid([Interval(bounds=(0.0, 1.0), cells=n).factor(name) for name, n in (("x", 250), ("y", 263))])
    random = np.random.default_rng(5)
    density, xi = random.random(grid.shape), random.random(grid.shape) * 9
    for axis in (0, 1):
        for drift in (NO_DRIFT, Drift(xi, 1.0)):
            results = []
            for number in (1, 2, 3):
                with blas_threads(number):
                    results.append(axis_of(grid, axis, np.ones(1)).advance(density, drift, 1e-3, 1.0, True))
            assert (results[0] == results[1]).all()
            assert (results[0] == results[2]).all()


def test_threads_that_switch_all_the_time_share_out_without_a_race():
    """An iterator of pairs from a generator is not for two threads: it would raise, or end the process."""
    from sys import getswitchinterval, setswitchinterval

    before, lock = getswitchinterval(), threading.Lock()
    try:
        setswitchinterval(1e-6)
        with blas_threads(3):
            for _ in range(300):
                done: list[int] = []

                def work(first, last, done=done):
                    with lock:
                        done.extend(range(first, last))

                share_out(work, 50)
                assert sorted(done) == list(range(50))
    finally:
        setswitchinterval(before)


# --------------------------------------------------------------------------------------------------------------- files
WORK = """
import sys, tempfile, threading
from pathlib import Path

import gridflow
from gridflow.output.export import export

changes = {"space.x.cells": 8, "time.stop": 0.01, "time.save": 3, "exact": None}
case, folder, done = gridflow.load_case("ornstein-uhlenbeck").replace(changes), Path(tempfile.mkdtemp()), []


def solves(name):
    for k in range(20):
        gridflow.solve(case, folder / f"{name}-{k}.nc")


def reads(name):
    gridflow.solve(case, folder / f"{name}.nc")
    whole = xarray.open_dataset(folder / f"{name}.nc", cache=False)
    for k in range(20):
        gridflow.open(folder / f"{name}.nc").load()
        export(folder / f"{name}.nc", folder / f"{name}-{k}.nc")
        whole["density"].to_numpy()


def whole(work, name):
    work(name)
    done.append(name)


works = {"solves": (solves, solves), "reads": (solves, reads)}[sys.argv[1]]
if reads in works:
    import xarray
threads = [threading.Thread(target=whole, args=(work, f"{k}")) for k, work in enumerate(works)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
sys.exit(len(done) != len(works))
"""


@pytest.mark.parametrize("works", ["solves", "reads"])
def test_files_are_written_and_read_in_two_threads_at_once(works):
    """In a process of its own, which a thread that is not kept out ends by a signal."""
    ended = subprocess.run([sys.executable, "-c", WORK, works], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def test_the_lock_of_files_is_taken_with_that_of_xarray():
    from xarray.backends.locks import HDF5_LOCK

    with ONE_THREAD, ONE_THREAD:
        assert HDF5_LOCK.locked()
    assert not HDF5_LOCK.locked()
    with HDF5_LOCK:  # as when the garbage of xarray closes files, without waiting
        assert not ONE_THREAD.acquire(blocking=False)
        with ThreadPoolExecutor(1) as other:
            assert other.submit(ONE_THREAD.alone.acquire, False).result()  # it was given back
            other.submit(ONE_THREAD.alone.release).result()
    assert pickle.loads(pickle.dumps(ONE_THREAD)) is ONE_THREAD
