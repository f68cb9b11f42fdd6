"""Parameter spaces as products of factors: factors, the grid, and densities on it."""
