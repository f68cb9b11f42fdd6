"""What the sources claim, as data: every module here reproduces some figures, theorems or examples of the sources.

A module has one function, `reproduce(directory, quick) -> list[Claim]`: it measures, writes its pictures into the directory and
returns what it found. `python -m validation` runs them and compares the verdicts with the recorded ones (`validation/claims/`).
"""
