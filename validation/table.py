"""The recorded claims, and validation/README.md: the map from a source to its command, picture and verdict."""

import json
from pathlib import Path

from validation.claim import MEASURED
from validation.sources import SOURCES

HERE = Path(__file__).parent
CLAIMS, FIGURES = HERE / "claims", HERE / "figures"
NOT_REPRODUCTIONS = {"__init__", "__main__", "beside", "claim", "contact_sheet", "runner", "sources", "table"}


def module_names() -> list[str]:
    """Every reproduction in this directory."""
    return sorted(p.stem for p in HERE.glob("*.py") if p.stem not in NOT_REPRODUCTIONS)


def recorded() -> dict[str, dict]:
    """What `--record` has kept, by module."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(CLAIMS.glob("*.json"))}


def difference(name: str, before: dict | None, result: dict) -> list[str]:
    """Sentences on verdicts, sources and wordings that differ from the recorded ones. Numbers are not compared."""
    again = f"if that is right, python -m validation {name} --record keeps it"
    if before is None:
        return [f"nothing is recorded of {name}: {again}"]
    old, new = ({row["name"]: row for row in part["claims"]} for part in (before, result))
    sentences = [f"{name}: the claim {n} is no longer measured: {again}" for n in sorted(old.keys() - new.keys())]
    sentences += [f"{name}: nothing is recorded of the claim {n}: {again}" for n in sorted(new.keys() - old.keys())]
    for n in sorted(old.keys() & new.keys()):
        if old[n]["verdict"] != new[n]["verdict"]:
            sentences.append(f"{name}: the claim {n} is {new[n]['verdict']}, recorded as {old[n]['verdict']}: {again}")
        sentences += [f"{name}: {k} of the claim {n} has changed: {again}" for k in ("source", "says") if old[n][k] != new[n][k]]
    return sentences


def row_text(row: dict) -> str:
    """A claim in one line of a terminal."""
    return f"{row['verdict']:12} {row['source']}: {row['quantity']} = {number(row['value'])}{interval(row['band'])}"


def number(value: float | None) -> str:
    return "no number" if value is None else f"{value:.3g}"


def interval(band: list | None) -> str:
    if band is None:
        return ""
    low, high = band
    if low is None:
        return f" (≤ {number(high)})"
    if high is None:
        return f" (≥ {number(low)})"
    return f" ({number(low)} … {number(high)})"


def items_of(row: dict) -> list[str]:
    """The items of `sources.SOURCES` that a claim names."""
    return [item.strip() for item in row["source"].split(",")]


def rows_by_item() -> dict[str, list[tuple[str, dict]]]:
    """(module, claim) of every item of the sources, and of claims of our own, in the order of the sources."""
    found: dict[str, list[tuple[str, dict]]] = {item: [] for item in [*SOURCES, "gridflow"]}
    for name, part in recorded().items():
        for row in part["claims"]:
            for item in items_of(row):
                found.setdefault(item, []).append((name, row))
    return found


def readme() -> str:
    """The table of all recorded claims, in Markdown."""
    parts = recorded()
    verdicts = [row["verdict"] for part in parts.values() for row in part["claims"]]
    counts = ", ".join(f"{verdicts.count(v)} {v}" for v in ("shown", "contradicted", "not shown", MEASURED))
    lines = [
        "# What the sources claim, and what gridflow measures",
        "",
        "Written by `python -m validation --record`; do not edit. `python -m validation NAME` runs one module small, `--full` at",
        "full size. A claim is *shown* when the measured value lies in its band, *contradicted* when it lies in a second band,",
        "which stands for the opposite of the claim, *not shown* otherwise; times and speeds are *measured*. The README of the",
        "project names the sources S1 to S4.",
        "",
        f"{len(verdicts)} claims: {counts}.",
        "",
    ]
    for item, rows in rows_by_item().items():
        lines += [f"## {item}: {SOURCES[item]}" if item in SOURCES else f"## {item}: claims of our own", ""]
        if not rows:
            lines += ["No claim.", ""]
            continue
        lines += ["| the claim | measured | value (band) | verdict | module, picture |", "|---|---|---|---|---|"]
        for name, row in rows:
            pictures = " ".join(f"[{p}](figures/{p})" for p in row["pictures"])
            says = f"{row['says']} {('— ' + row['finding']) if row['finding'] else ''}".strip()
            value = f"{number(row['value'])}{interval(row['band'])}"
            cells = [says, row["quantity"], value, f"**{row['verdict']}**", f"`{name}` {parts[name]['mode']} {pictures}".strip()]
            lines.append("| " + " | ".join(c.replace("|", "\\|").replace("\n", " ") for c in cells) + " |")
        lines.append("")
    return "\n".join(lines)
