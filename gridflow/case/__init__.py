"""Cases: what a problem is, as data."""
