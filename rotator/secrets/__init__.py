"""
Secret providers: turn references into values.

One file a vendor, and what they share.

Not here: keys or formats; a message that holds a secret.
"""
