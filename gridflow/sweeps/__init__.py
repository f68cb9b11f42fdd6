"""Many cases at once: a case with swept keys, its members solved as independent tasks, their results as one dataset."""
