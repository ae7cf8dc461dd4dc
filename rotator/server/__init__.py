"""
Server: says everything that is said to a Redis or Valkey, and understands the replies.

The only package that knows the library `redis`.

Not here: policy: whether to retry a page, how long to wait for a cache, what a fact means for
a key.
"""
