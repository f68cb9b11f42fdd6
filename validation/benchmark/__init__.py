"""Speeds of gridflow beside those of other programs, on exact problems and on shipped cases: `python -m validation.benchmark`."""
