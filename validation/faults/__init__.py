"""Tools that look for faults: damaged input, kills, random valid cases. Each is a program: `python -m validation.faults.NAME`."""
