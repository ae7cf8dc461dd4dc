"""
Diagnosis: looks at a cache without changing it.

Check, detect, inspect and the stage of a rotation.

Not here: anything that writes, anywhere; a second way to read a node page by page.
"""
