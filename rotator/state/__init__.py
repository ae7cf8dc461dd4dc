"""
State: keeps one SQLite file.

Tables, upgrades, records in and out.

Not here: deciding with what is stored; locks against other runs (run.preflight).
"""
