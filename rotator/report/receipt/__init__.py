"""
Receipt: keeps the evidence of one key for an auditor.

What it holds, and the signed envelope around it.

Not here: what a run found (the files beside this folder).
"""
