"""Servers of other versions, and the tests on each of them: `make test-matrix`."""
