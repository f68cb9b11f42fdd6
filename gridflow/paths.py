"""Names of the files beside a result while its run lasts."""

from pathlib import Path


def part_path(output: Path) -> Path:
    """The file of a result while its run lasts."""
    return output.with_name(output.name + ".part")


def checkpoint_path(output: Path) -> Path:
    """The file of the newest checkpoint of a result."""
    return output.with_name(output.name + ".checkpoint")


def older_path(output: Path) -> Path:
    """The file of the checkpoint before."""
    return output.with_name(output.name + ".checkpoint.old")
