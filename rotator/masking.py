"""
The last resort: what looks like a secret is taken out of a text before anyone can read it.

Nothing that is written relies on this. Secrets are kept out of messages where those are made; this
stands behind, for a library that puts the URL it was given into an exception, or for a mistake.

Taken out are: runs of 64 and more hex characters (keys; and so the SHA-256 in a hashed name too),
user and password in a URL, the values of URL parameters that are named like a secret, and long
literals of bytes, as `repr` writes them (keys, values, plaintexts).
"""

from __future__ import annotations

import re

MASK = "***"

_HEX_KEY = re.compile(r"[0-9A-Fa-f]{64,}")
# Up to the last @, because a password in a URL may hold one that nobody escaped.
_USER_INFO = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)\S*@")
_PARAMETER = re.compile(
    r"([?&;][\w.-]*(?:token|secret|pass|pwd|key|credential|auth|sig)[\w.-]*=)[^&;#\s'\"]+",
    re.IGNORECASE,
)
_BYTES = re.compile(r"""\bb(?:'(?:[^'\\]|\\.){16,}'|"(?:[^"\\]|\\.){16,}")""")


def mask(text: str) -> str:
    """*text* with `***` in place of everything that looks like a secret."""
    text = _BYTES.sub(f"b'{MASK}'", text)
    text = _USER_INFO.sub(rf"\1{MASK}@", text)
    text = _PARAMETER.sub(rf"\1{MASK}", text)
    return _HEX_KEY.sub(MASK, text)
