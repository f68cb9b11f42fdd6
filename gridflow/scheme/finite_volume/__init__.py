"""Finite volumes."""
