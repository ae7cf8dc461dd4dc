"""
Fleet: puts the reports of many hosts together.

The JSON, which reports count, the table.

Not here: what is said of one run (the files beside this folder).
"""
