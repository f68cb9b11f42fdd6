"""Every shipped case as a picture, to be looked at: solved small, drawn at both sizes, and put together on pages.

    python -m validation.contact_sheet -o DIR [--only CASE ...]

Cases have half of their cells along lines and circles, and one level less on surfaces. DIR gets CASE.png and CASE-paper.png, and
the pages contact-screen-1.png, …, contact-paper-1.png, … with the names of the cases. Datasets are kept in DIR as CASE.nc, and a
second run draws them again; remove them to solve anew.
"""

import argparse
import sys
from pathlib import Path

import gridflow
from gridflow.case.case import Case, load_case
from gridflow.case.shipped import shipped_cases

SIZES = {"screen": (3, 3, 8.0), "paper": (4, 6, 3.5)}
"""Columns and rows of a page, and the height of a row in inches."""
WIDTH = 18.0
"""Inches of a page."""


def small(name: str) -> Case:
    """A shipped case with half of the cells of every line, at least 16, and one level less on surfaces."""
    case = load_case(name)
    lines = {f"space.{n}.cells": max(16, f.cells // 2) for n, f in case.space.items() if f.resolution_key == "cells"}
    levels = {f"space.{n}.level": f.level - 1 for n, f in case.space.items() if f.resolution_key == "level"}
    return case.replace(lines | levels)


def draw(name: str, directory: Path) -> None:
    """The dataset of a case, if it is not there yet, and its pictures."""
    file = directory / f"{name}.nc"
    if not file.exists():
        gridflow.solve(small(name), file)
    gridflow.plot(file, directory / f"{name}.png", overwrite=True)
    gridflow.plot(file, directory / f"{name}-paper.png", overwrite=True, size="paper")


def pages(names: list[str], directory: Path, size: str) -> list[Path]:
    """Pages of pictures of one size with their names; returns their paths."""
    from matplotlib.figure import Figure
    from matplotlib.image import imread

    columns, rows, height = SIZES[size]
    ending = "" if size == "screen" else f"-{size}"
    paths = []
    for start in range(0, len(names), columns * rows):
        chosen = names[start : start + columns * rows]
        lines = -(-len(chosen) // columns)
        page = Figure(figsize=(WIDTH, height * lines), facecolor="white", layout="constrained")
        grid = page.subplots(lines, columns, squeeze=False)
        for axes in grid.ravel():
            axes.set_axis_off()
            axes.set_anchor("N")
        for axes, name in zip(grid.ravel(), chosen, strict=False):
            axes.imshow(imread(directory / f"{name}{ending}.png"), interpolation="antialiased")
            axes.set_title(name)
        paths.append(directory / f"contact-{size}-{len(paths) + 1}.png")
        page.savefig(paths[-1], dpi=100)
    return paths


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m validation.contact_sheet", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", required=True)
    parser.add_argument("--only", nargs="+", metavar="CASE", default=list(shipped_cases()))
    options = parser.parse_args(words)
    if unknown := sorted(set(options.only) - set(shipped_cases())):
        parser.error(f"received {', '.join(unknown)}; `gridflow list` has the names of all cases")
    options.output.mkdir(parents=True, exist_ok=True)
    for name in options.only:
        print(name, file=sys.stderr)
        draw(name, options.output)
    for size in SIZES:
        for path in pages(options.only, options.output, size):
            print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
