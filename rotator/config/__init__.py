"""
Configuration: reads the file as it is written, and checks it as models.

References to secrets only.

Not here: a secret that is resolved; a connection.
"""
