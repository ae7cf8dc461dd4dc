"""
Sweep: visits every name of a cache once, on every node, by every engine.

Coverage, position, and who does the work.

Not here: meaning, since it counts and never judges; SQL; what servers keep besides names.
"""
