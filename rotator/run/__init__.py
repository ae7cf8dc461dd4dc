"""
Orchestration: calls the parts of a job in their order, and stores what lies between them.

A module here calls at least two other packages; otherwise it belongs into the one it calls.

Not here: a loop over names (sweep), a command to Redis (server), a sentence for people
(report.words), a judgement (retirement).
"""
