"""Schemes: how a density is moved in time."""
