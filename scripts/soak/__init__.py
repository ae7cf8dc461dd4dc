"""Minutes of faults, and what must hold after them: `make soak`."""
