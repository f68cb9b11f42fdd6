"""Sums over pairs of points and over features."""
