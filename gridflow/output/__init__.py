"""Datasets, files and pictures."""
