"""
Report: holds the result of a run as data, and renders it.

The JSON contract, its renderings, and the words for outcomes and verdicts.

Not here: looking anything up, since it is handed what it needs; a number or a time written here
and not in `text`.
"""
