"""
Wire: knows one server process as a peer: address, login, version, bytes both ways, deadlines.

Not here: what a command is for, and what its reply means.
"""
