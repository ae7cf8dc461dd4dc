"""The report of a run: one model, and one file for each way to show it."""
