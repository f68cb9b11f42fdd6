"""Cross-validation: the density on the grid against particle runs of the same energy, and against exact solutions."""
