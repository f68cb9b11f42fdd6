"""Residual networks in the mean-field limit."""
