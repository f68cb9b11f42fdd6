"""Energies, on a grid and at particles."""
