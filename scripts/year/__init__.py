"""A year of nights on real servers, by one simulated clock: `make year`."""
