"""Mutants of what a fault would cost most in, and the tests that see them: `make mutants`."""
