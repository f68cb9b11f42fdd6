"""The ranks of an MPI run, and what they do together. Nothing else in gridflow knows MPI, and only an mpiexec has it imported.

    exchange    cells at the ends of the slabs go to the neighbours
    total       sums over all ranks (`largest` likewise), the same to the last bit on each of them
    gather      a field of all slabs comes to rank 0 (`first` goes the other way)
    turned      a field that is cut across an axis becomes one that is cut across the lines along it: transposition

The first three are what an explicit step and a save need. Every rank must come to each of them, in the same order: what a rank
decides by itself (whether a step is short enough, whether there is time for a checkpoint) it decides by numbers that are the same
on all.
"""

import os
import warnings
from collections.abc import Callable
from math import prod
from typing import Any, TypeVar

import numpy as np

from gridflow.errors import InputError
from gridflow.launched import launched
from gridflow.space.factor import Array

Result = TypeVar("Result")
FEW = 4096
"""Numbers up to which a sum is that of all ranks in their order; beyond, the library chooses the order."""


class Ranks:
    """The processes of an MPI run. rank : the number of this one; size : how many there are"""

    def __init__(self, comm: Any) -> None:
        from mpi4py import MPI

        self.mpi, self.comm, self.rank, self.size = MPI, comm, int(comm.rank), int(comm.size)

    def total(self, values: Any) -> Any:
        """Σ over all ranks of numbers of any shape."""
        mine = np.array(values, dtype=float, order="C")
        if mine.size > FEW:
            found = np.empty_like(mine)
            self.comm.Allreduce(mine, found)
            return found
        of_all = np.empty((self.size, *mine.shape))
        self.comm.Allgather(mine, of_all)
        return of_all.sum(axis=0)

    def largest(self, values: Any) -> Any:
        """The largest of all ranks of numbers of any shape; NaN where one is."""
        mine = np.array(values, dtype=float, order="C")
        of_all = np.empty((self.size, *mine.shape))
        self.comm.Allgather(mine, of_all)
        return of_all.max(axis=0)

    def first(self, call: Callable[[], Result]) -> Result:
        """What a call returns on rank 0, or raises there, on every rank."""
        outcome: Any = None
        if self.rank == 0:
            try:
                outcome = call(), None
            except Exception as error:  # raised again, on all
                outcome = None, error
        result, fault = self.comm.bcast(outcome, root=0)
        if fault is not None:
            raise fault
        found: Result = result
        return found

    def exchange(self, field: Array, axis: int, before: int, after: int, around: bool) -> None:
        """Puts the cells of neighbours into the first and last cells of a slab along its axis.

        before, after : how many these are, 0 at a wall; around : the last rank is the neighbour of the first one
        """
        left, right = self.rank - 1, self.rank + 1
        if around:
            left, right = left % self.size, right % self.size
        null, lead = self.mpi.PROC_NULL, (slice(None),) * axis
        left, right = left if before else null, right if after else null
        n = field.shape[axis]
        self.swap(field, (*lead, slice(before, 2 * before)), left, (*lead, slice(n - after, n)), right)
        self.swap(field, (*lead, slice(n - 2 * after, n - after)), right, (*lead, slice(0, before)), left)

    def swap(self, field: Array, mine: tuple[slice, ...], to: int, theirs: tuple[slice, ...], source: int) -> None:
        """Sends one part of a field, and receives another."""
        received = np.empty(field[theirs].shape)
        self.comm.Sendrecv(np.ascontiguousarray(field[mine]), to, 0, received, source, 0)
        field[theirs] = received

    def gather(self, mine: Array, axis: int, ends: np.ndarray) -> Array | None:
        """The field of all parts along an axis, that of rank k from ends[k] to ends[k + 1], on rank 0; None on others."""
        if self.rank > 0:
            self.comm.Send(np.ascontiguousarray(mine), 0)
            return None
        lead, shape = (slice(None),) * axis, list(mine.shape)
        shape[axis] = int(ends[-1])
        field = np.empty(shape, mine.dtype)
        field[(*lead, slice(ends[0], ends[1]))] = mine
        for k in range(1, self.size):
            shape[axis] = int(ends[k + 1] - ends[k])
            part = np.empty(shape, mine.dtype)
            self.comm.Recv(part, k)
            field[(*lead, slice(ends[k], ends[k + 1]))] = part
        return field

    def turned(self, field: Array, ends: np.ndarray) -> Array:
        """(before, n of this rank, after) → (before', n, after'), cut across the longer one of the others."""
        side = longer_side(field.shape)
        parts = np.array_split(field, self.size, axis=side)
        before, _, after = parts[self.rank].shape
        shapes: list[tuple[int, ...]] = [(before, int(ends[k + 1] - ends[k]), after) for k in range(self.size)]
        received = self.to_all(np.ascontiguousarray(field).reshape(-1) if side == 0 else flat(parts), parts, shapes)
        return np.concatenate(pieces(received, shapes), axis=1)

    def turned_back(self, field: Array, ends: np.ndarray, shape: tuple[int, int, int]) -> Array:
        """What `turned` has made, as it was: shape : of this rank before."""
        side = longer_side(shape)
        counts = [part.size for part in np.array_split(np.zeros(shape[side]), self.size)]
        parts = np.split(field, ends[1:-1], axis=1)
        shapes = [(*shape[:side], count, *shape[side + 1 :]) for count in counts]
        received = self.to_all(flat(parts), parts, shapes)
        return received.reshape(shape) if side == 0 else np.concatenate(pieces(received, shapes), axis=side)

    def to_all(self, sent: Array, parts: list[Array], shapes: list[tuple[int, ...]]) -> Array:
        """Sends one part to every rank, and receives one of each, of these shapes; both follow each other in memory."""
        sizes = [prod(shape) for shape in shapes]
        received = np.empty(sum(sizes), sent.dtype)
        self.comm.Alltoallv([sent, [part.size for part in parts]], [received, sizes])
        return received


def longer_side(shape: tuple[int, ...]) -> int:
    """The axis of (before, n, after) across which the lines along the middle one are shared out."""
    return 0 if shape[0] >= shape[2] else 2


def flat(parts: list[Array]) -> Array:
    """The numbers of all parts, one part after the other; each is copied once."""
    found, start = np.empty(sum(part.size for part in parts), parts[0].dtype), 0
    for part in parts:
        found[start : start + part.size].reshape(part.shape)[...] = part
        start += part.size
    return found


def pieces(numbers: Array, shapes: list[tuple[int, ...]]) -> list[Array]:
    """Parts of these shapes that follow each other in memory."""
    ends = np.cumsum([prod(shape) for shape in shapes])
    return [part.reshape(shape) for part, shape in zip(np.split(numbers, ends[:-1]), shapes, strict=True)]


def ranks() -> Ranks | None:
    """The ranks of this MPI run; None without an mpiexec, or with one process of it.

    Raises InputError where an mpiexec has started several processes that do not find each other.
    """
    count, fix = launched(), "pip install 'gridflow[mpi]', and use the mpiexec that this brings, or that of your cluster's MPI"
    if count == 1 and "PMIX_RANK" not in os.environ:
        return None
    try:
        with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # of another MPI: see below
            from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        received = f"an mpiexec with {count} processes, without MPI in Python: {error}"
        raise InputError(received, "mpi4py with its MPI", fix) from None
    comm = MPI.COMM_WORLD
    if comm.size == 1 and count > 1:
        library = MPI.Get_library_version().partition("\n")[0].strip("\0 ")
        received = f"an mpiexec that has started {count} processes, each of which is alone in the MPI of mpi4py ({library})"
        fix = "start it with the mpiexec of the same MPI: gridflow doctor names it"
        raise InputError(received, "the mpiexec of that MPI", fix)
    return None if comm.size == 1 else Ranks(comm.Dup())
