"""Negative Sobolev distances."""
