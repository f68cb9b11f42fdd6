"""Two-layer networks in the mean-field limit."""
