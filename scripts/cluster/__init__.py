"""A private cluster to try things on: `python -m cluster`."""
