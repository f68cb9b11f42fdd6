"""One large density over the ranks of MPI: the grid is cut into slabs."""
