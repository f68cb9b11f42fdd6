"""NumPy definitions that the compiled versions are compared with."""
