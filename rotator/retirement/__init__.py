"""
Retirement: judges from proofs, looks and declarations when an old key can be removed.

Pure functions of what is handed in, `now` included.

Not here: input and output, a clock, a log, a rendering.
"""
