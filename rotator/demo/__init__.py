"""
Demonstration: plays a rotation on a private server.

The server, the story and its data.

Not here: anything that another package imports.
"""
