"""Particles: N weighted points that move in the same space by the same energies as the densities on the grid."""
