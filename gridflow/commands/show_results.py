"""What is made of results: plot, export, report, reproduce."""

import argparse
from pathlib import Path

from gridflow.commands.base import EXIT_INPUT, Command, add_file, add_overwrite, add_size, message


def add_plot(plot: argparse.ArgumentParser) -> None:
    """Adds the options of plot."""
    add_file(plot)
    plot.add_argument("-o", "--output", type=Path, metavar="OUT", help=".png, .pdf, .svg, .gif or .mp4; default: F.png")
    add_size(plot)
    add_overwrite(plot)


def command_plot(arguments: argparse.Namespace) -> int:
    """Draws a result."""
    from gridflow.output.plotting import plot

    file = arguments.file
    output = arguments.output or file.parent / f"{file.stem}.png"
    plot(file, output, arguments.overwrite, arguments.size)
    message(f"wrote {output}")
    return 0


def add_export(export: argparse.ArgumentParser) -> None:
    """Adds the options of export."""
    add_file(export)
    outputs = ".nc, .zarr, .csv, .parquet, .vtu (one time) or .pvd (ParaView)"
    export.add_argument("-o", "--output", type=Path, metavar="OUT", required=True, help=outputs)
    variables = "may be repeated; default: all in .nc and .zarr, else density"
    export.add_argument("--variable", action="append", metavar="NAME", dest="variables", help=variables)
    times = "a saved time, first or last; may be repeated; default: all"
    export.add_argument("--time", action="append", metavar="T", dest="times", help=times)
    export.add_argument("--latlon", type=float, metavar="DEGREES", help="remap a surface to boxes of latitude and longitude")
    marginal = "with --latlon or .vtu, .pvd: sum the mass over the other factors"
    export.add_argument("--marginal", action="store_true", help=marginal)
    along = "the surface for --latlon; one surface, or up to three intervals and circles for .vtu, .pvd; may be repeated"
    export.add_argument("--along", action="append", metavar="NAME", help=along)
    add_overwrite(export)


def command_export(arguments: argparse.Namespace) -> int:
    """Writes variables of a result for other programs."""
    from gridflow.output.export import export

    chosen = ("variables", "times", "latlon", "overwrite", "marginal", "along")
    export(arguments.file, arguments.output, **{name: vars(arguments)[name] for name in chosen})
    message(f"wrote {arguments.output}")
    return 0


def add_report(report: argparse.ArgumentParser) -> None:
    """Adds the options of report."""
    report.add_argument("sources", nargs="*", metavar="F.nc|CASE", help="files of solve and validate; cases are solved first")
    report.add_argument("-o", "--output", type=Path, metavar="PAGE.html", required=True)
    report.add_argument("--title", default="", help="of the page; default: that of the result")
    report.add_argument("--validate", action="store_true", help="add the verdict of every case among the sources")
    report.add_argument("--claims", type=Path, metavar="DIR", help="add claims of reproductions: a folder of their JSON files")
    add_overwrite(report)


def command_report(arguments: argparse.Namespace) -> int:
    """Writes a page about results."""
    from gridflow.reports.page import report

    chosen = ("title", "validate", "claims", "overwrite")
    report(arguments.sources, arguments.output, **{name: vars(arguments)[name] for name in chosen})
    message(f"wrote {arguments.output}")
    return 0


def add_reproduce(reproduce: argparse.ArgumentParser) -> None:
    """Adds the options of reproduce."""
    reproduce.add_argument("names", nargs="*", metavar="NAME", help="modules in validation/; default: all")
    reproduce.add_argument("-o", "--output", type=Path, metavar="DIR", required=True, help="a new folder")
    reproduce.add_argument("--full", action="store_true", help="at full size: minutes to hours")
    reproduce.add_argument("--jobs", type=int, default=2, metavar="N", help="modules at a time")


def command_reproduce(arguments: argparse.Namespace) -> int:
    """Runs reproductions and writes a page about them."""
    from gridflow.reports.reproduce import reproduce

    code = reproduce(arguments.names, arguments.output, arguments.full, arguments.jobs)
    if code != EXIT_INPUT:
        message(f"wrote {arguments.output}/claims.html")
    return code


PLOT = Command("plot", "draw a result", add_plot, command_plot)
EXPORT = Command("export", "a result for other programs: NetCDF, Zarr, tables, ParaView", add_export, command_export)
REPORT = Command("report", "one HTML page about results, verdicts and cases, complete in itself", add_report, command_report)
REPRODUCE = Command("reproduce", "measure the claims of the sources again: pictures and a page", add_reproduce, command_reproduce)
