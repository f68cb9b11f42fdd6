"""What there is, and whether it works: list, show, doctor."""

import argparse

from gridflow.commands.base import EXIT_FAILED, Command, add_case, changed_case


def add_json(command: argparse.ArgumentParser) -> None:
    """Adds --json."""
    command.add_argument("--json", action="store_true", help="as JSON on stdout")


def command_list(arguments: argparse.Namespace) -> int:
    """Prints the shipped cases as a table or as JSON."""
    from gridflow.case.shipped import shipped_cases, table_row

    rows = [table_row(path) for path in shipped_cases().values()]
    if arguments.json:
        import json

        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return 0
    table = [("case", "seconds", "grid", "title (source)")]
    table += [(r["name"], f"{r['seconds']:g}", r["grid"], f"{r['title']} ({r['source']})") for r in rows]
    columns = [max(len(row[k]) for row in table) for k in range(3)]
    for row in table:
        print("  ".join([row[0].ljust(columns[0]), row[1].rjust(columns[1]), row[2].ljust(columns[2]), row[3]]))
    return 0


def command_show(arguments: argparse.Namespace) -> int:
    """Prints a case and, as comments, its cost."""
    from gridflow.preview import preview

    case = changed_case(arguments)
    print(case.text())
    for line in preview(case):
        print(f"# {line}")
    return 0


def command_doctor(arguments: argparse.Namespace) -> int:
    """Prints what works on this machine."""
    from gridflow.doctor import findings, report

    found = findings()
    if arguments.json:
        import json
        from dataclasses import asdict

        print(json.dumps([asdict(f) for f in found], indent=2, ensure_ascii=False))
    else:
        print(report(found))
    return 0 if all(f.good for f in found) else EXIT_FAILED


LIST = Command("list", "cases that ship with gridflow, and about how many seconds of CPU each takes", add_json, command_list)
SHOW = Command("show", "a case with every default filled in, as TOML, and what it costs", add_case, command_show)
DOCTOR = Command("doctor", "what works on this machine, and how to repair what does not", add_json, command_doctor)
