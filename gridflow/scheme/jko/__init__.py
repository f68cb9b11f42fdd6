"""Entropic JKO steps."""
