"""How far the seconds that `gridflow list` states are from the CPU seconds that solving the shipped cases takes here.

The seconds of a case are CPU seconds of one core, once kernels are compiled, rounded. They
had been written by hand while cases grew and schemes became faster, three times too large on the whole. Each case is solved once
here, after a short run of it, which compiles or reads what is compiled.
"""

import time
from pathlib import Path

import gridflow
from gridflow.case.shipped import shipped_cases
from validation.claim import Claim

QUICK = 0.5
"""The quick run takes the cases of at most so many seconds."""


def seconds(name: str) -> float:
    """CPU seconds that solving a shipped case takes."""
    case = gridflow.load_case(name)
    gridflow.solve(case.replace({"time.stop": case.time.stop / 1000, "time.save": 2}))
    began = time.process_time()
    gridflow.solve(case)
    return time.process_time() - began


def reproduce(directory: Path, quick: bool) -> list[Claim]:
    factors = {}
    for name in shipped_cases():
        stated = gridflow.load_case(name).seconds
        if not quick or stated <= QUICK:
            measured = seconds(name)
            factors[name] = max(stated / measured, measured / stated)
            print(f"{name:34} stated {stated:5g} s, measured {measured:6.2f} s")
    worst = max(factors, key=lambda name: factors[name])
    print(f"furthest off: {worst}")
    return [
        Claim(
            name="case-seconds",
            source="gridflow",
            says="`gridflow list` states about how many seconds of CPU a case takes.",
            quantity="largest factor between stated and measured CPU seconds of a case",
            value=factors[worst],
        )
    ]
