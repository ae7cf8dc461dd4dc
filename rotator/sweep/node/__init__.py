"""
Node sweep: brings one node to its end, by one worker.

Pages, decisions, writes and waits.

Not here: other nodes of the cache, but for following a redirect; the merging of results.
"""
