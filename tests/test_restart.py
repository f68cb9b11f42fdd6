"""Nothing is lost: kept files, killed and interrupted runs, what `--resume` does with what they leave."""

import errno
import json
import os
import random
from hashlib import blake2b

import numpy as np
import pytest

from gridflow.output import kept
from gridflow.output.kept import DIGEST, FORMAT, UnreadableError, read_kept, retried, write_kept

ARRAYS = {
    "density": np.linspace(0.0, 1.0, 12).reshape(3, 4),
    "mode": np.array(np.nan),
    "none": np.zeros((0, 5)),
    "half": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "counts": np.array([1, -2], dtype=np.int64),
}
NUMBERS = {"time": 0.1 + 0.2, "dt": float("inf"), "case": "title = 'ξ'", "walls": {"theta": 1e-300}}


# ------------------------------------------------------------------------------------------------------------- kept files
def test_a_kept_file_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "a.kept"
    write_kept(path, ARRAYS, NUMBERS)
    arrays, numbers = read_kept(path)
    assert numbers == NUMBERS
    assert list(arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].shape == array.shape
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_before_stays_as_the_older_one(tmp_path):
    path, older = tmp_path / "a", tmp_path / "a.old"
    for number in (1, 2, 3):
        write_kept(path, {}, {"number": number}, older)
    assert read_kept(path)[1] == {"number": 3}
    assert read_kept(older)[1] == {"number": 2}


def test_a_file_that_cannot_be_kept_leaves_the_one_before(tmp_path, monkeypatch):
    path = tmp_path / "a"
    write_kept(path, ARRAYS, NUMBERS)
    with pytest.raises(TypeError, match="'bad' holds object"):
        write_kept(path, {"bad": np.array([None])}, {})

    def full(number):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_kept(path, {}, {})
    assert read_kept(path)[1] == NUMBERS
    assert list(tmp_path.iterdir()) == [path]


def test_only_errors_that_pass_are_tried_again(monkeypatch):
    waited: list[float] = []
    monkeypatch.setattr(kept.time, "sleep", waited.append)
    left = [errno.ESTALE, errno.EBUSY]

    def call():
        if left:
            raise OSError(left.pop(), "busy")
        return "done"

    assert retried(call) == "done"
    assert waited == list(kept.WAITS[:2])
    left = [errno.EAGAIN] * 9
    with pytest.raises(OSError, match="busy"):
        retried(call)
    assert len(left) == 9 - 1 - len(kept.WAITS)
    for number in (errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.ENOENT, errno.EFBIG):
        left, waited[:] = [number] * 2, []
        with pytest.raises(OSError, match="busy"):
            retried(call)
        assert (len(left), waited) == (1, [])


def of_header(header: bytes, rest: bytes = b"") -> bytes:
    """A file whose checksums fit, whatever it holds."""
    head = FORMAT + len(header).to_bytes(8, "little") + header
    return head + blake2b(head, digest_size=DIGEST).digest() + rest


def of_table(table: list, rest: bytes = b"", **changes) -> bytes:
    digest = blake2b(rest, digest_size=DIGEST).hexdigest()
    header = {"gridflow": kept.gridflow.__version__, "numbers": {}, "arrays": table, "digest": digest, **changes}
    return of_header(json.dumps(header).encode(), rest)


BAD = {
    "empty": (b"", "damaged"),
    "another file": (b"PK\x03\x04" + bytes(100), "damaged"),
    "a header longer than the file": (FORMAT + b"\xff" * 8 + bytes(40), "damaged"),
    "another format": (FORMAT.replace(b"1", b"2") + bytes(100), "version"),
    "another version": (of_table([], gridflow="0.0.9"), "version"),
    "no version": (of_header(b"{}"), "version"),
    "no JSON": (of_header(b"(1, 2"), "damaged"),
    "deep JSON": (of_header(b"[" * 100_000), "damaged"),
    "no table": (of_header(b"[]"), "damaged"),
    "no numbers": (of_table([], numbers=[1]), "damaged"),
    "no arrays": (of_table([], arrays=None), "damaged"),
    "objects": (of_table([["a", "|O", [1]]], bytes(8)), "damaged"),
    "a type that is none": (of_table([["a", "(1, 2", [1]]], bytes(8)), "damaged"),
    "a shape that is none": (of_table([["a", "<f8", "x"]], bytes(8)), "damaged"),
    "more than the file holds": (of_table([["a", "<f8", [10**12]]], bytes(8)), "damaged"),
    "a negative length": (of_table([["a", "<f8", [-1, -1]]], bytes(8)), "damaged"),
    "no length at all": (of_table([["a", "<f8", [0, 10**30]]]), "damaged"),
    "too short": (of_table([["a", "<f8", [2]]], bytes(15)), "damaged"),
    "too long": (of_table([["a", "<f8", [2]]], bytes(17)), "damaged"),
    "one name twice": (of_table([["a", "<f8", [1]], ["a", "<f8", [1]]], bytes(16)), "damaged"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_of_any_content_is_readable_or_says_why_not(name, tmp_path):
    content, reason = BAD[name]
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(UnreadableError) as caught:
        read_kept(tmp_path / "a")
    assert caught.value.reason == reason, caught.value


def test_a_missing_file_and_a_directory_are_unreadable(tmp_path):
    for path, reason in ((tmp_path / "a", "missing"), (tmp_path, "damaged"), (tmp_path / "a" / "b", "missing")):
        with pytest.raises(UnreadableError) as caught:
            read_kept(path)
        assert caught.value.reason == reason


def test_no_damage_goes_unseen(tmp_path):
    """Every cut, and every bit that flips: of 600 places of a file of about 700 bytes."""
    path, chance = tmp_path / "a", random.Random(20261126)
    write_kept(path, ARRAYS, NUMBERS)
    good = path.read_bytes()
    for _ in range(300):
        place = chance.randrange(len(good))
        flipped = bytearray(good)
        flipped[place] ^= 1 << chance.randrange(8)
        for content in (bytes(flipped), good[:place]):
            path.write_bytes(content)
            with pytest.raises(UnreadableError):
                read_kept(path)
