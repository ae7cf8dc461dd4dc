"""
Command line: parses, asks, prints and sets exit codes.

A file holds one command or one family; a command is parse, call, render, exit.

Not here: any decision about a value, a key, a cache or a server; a connection opened by hand.
"""
