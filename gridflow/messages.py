"""Sentences of the command line on the end of a run: what it found, or why it stopped and how to go on."""

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from gridflow.launched import launched
from gridflow.paths import checkpoint_path, older_path, part_path

if TYPE_CHECKING:
    from gridflow.output.dataset import Ending


def left_to_resume(output: Path) -> str:
    """What a run that has ended too early has left for --resume."""
    if checkpoint_path(output).exists() or older_path(output).exists():
        return "with a checkpoint"
    complete = output.exists() and not part_path(output).exists()
    return "with a complete file" if complete else "before its first checkpoint: it will start anew"


def command_to_resume(arguments: argparse.Namespace, output: Path | None) -> str:
    """The command that goes on with a run or a validation; output : what its -o names, or nothing."""
    flags = [f"--{flag}" for flag in ("overwrite", "quiet", "plot", "json", "force", "quick") if vars(arguments).get(flag)]
    settings = [word for setting in arguments.settings for word in ("--set", setting)]
    threads = [] if arguments.threads is None else ["--threads", str(arguments.threads)]
    where = [] if output is None else ["-o", str(output)]
    where += ["--size", arguments.size] if vars(arguments).get("size", "screen") != "screen" else []
    own = [word for file in vars(arguments).get("particles") or [] for word in ("--particles", str(file))]
    before = ["mpiexec", "-n", str(launched())] if launched() > 1 else []
    return shlex.join([*before, "gridflow", arguments.command, arguments.case, *where, *own, *settings, *threads, *flags, "--resume"])


def reason_of(error: Exception) -> str:
    """An error in words; what the system says, of which file."""
    if isinstance(error, MemoryError):
        return f"the memory does not suffice{f': {error}' if str(error) else ''}"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}{f': {error.filename}' if error.filename else ''}"
    return str(error)


def summary(ending: "Ending", output: Path) -> str:
    """A few lines on a result: status, cost, energy, mass, warnings and errors."""
    attrs, first, last = ending.attrs, ending.first, ending.last
    change = f"mass {first['mass']:.4g} -> {last['mass']:.4g}"
    error = f"mass error {attrs['mass_error_max']:.1e}"
    lines = [
        f"{attrs['status']}: wrote {output}",
        f"  time {last['time']:g}, {int(last['steps'])} steps in {attrs['wall_seconds']:.1f} s",
        f"  energy {first['energy']:.6g} -> {last['energy']:.6g}; decrease {attrs['energy_decreases']},"
        f" largest rise in a step {attrs['energy_rise_max']:.1e}",
        f"  {change if 'mass_free' in attrs else error},"
        f" smallest density {last['density_min']:.1e}, boundary mass {last['boundary_mass']:.1e}",
    ]
    lines += [f"  warning: {line}" for line in attrs.get("warnings", "").splitlines()]
    if "data_notes" in attrs:
        lines.append(f"  data: {attrs['data_notes']}")
    if "error_w1" in last:
        lines.append(f"  error against the exact solution: W1 {last['error_w1']:.2e}, L1 {last['error_l1']:.2e}")
    return "\n".join(lines)
