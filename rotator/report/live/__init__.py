"""
Live: renders runs that are under way.

The line, the JSON object and the gauges of their progress, and what `rotator status` shows.

Not here: what a run found once it has ended (the files beside this folder).
"""
