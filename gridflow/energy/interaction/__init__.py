"""Pair interactions."""
