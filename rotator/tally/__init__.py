"""
Tally: counts what was met.

Outcomes, their groups, counts and how they are added up; pure.

Not here: sentences, thresholds, exit codes.
"""
