"""
Thousands of mixed commands a second beside a run: what others feel of it, and that nothing is lost.

`situations` says what is measured, `rows` measures it; `client` is the foreground, a process of its
own, and `model` what it knows of every name. `tables` prints the figures.
"""
