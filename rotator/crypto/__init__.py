"""
Cryptography: keys, formats, opening and sealing of values.

Pure, but for the random numbers of the system.

Not here: names of commands, files or servers.
"""
