"""
`secretfile:///abs/path.yaml`: a file with a `secrets:` mapping of name to text.

A name with dots is looked up as it stands first, then level by level (`secrets: {ns: {key: ...}}`),
and then from the top of the file: documentation of different ages describes each of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import unquote

from rotator.config.files import parse
from rotator.errors import SecretError, SourceError


class SecretFile:
    """
    The secrets of one file, read once.

    Raises:
        SourceError: The file cannot be opened.
        ConfigError: It is not YAML, or not a mapping.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            content = path.read_bytes()
        except OSError as error:
            reason = (error.strerror or "unknown reason").lower()
            raise SourceError(
                f"the secret file {path} cannot be read: {reason}",
                hint="check the path after secretfile:// and the rights of the file",
            ) from None
        self._root = parse(content, str(path))

    def get(self, name: str) -> str:
        """
        The secret called *name*.

        Raises:
            SecretError: The file does not have it, or it is not text.
        """
        secrets = self._root.get("secrets")
        found = _lookup(secrets, name)
        if found is None and "." in name:
            found = _lookup(self._root, name)
        if found is None:
            raise SecretError(
                f"<{name}>: {self.path} has no such secret", hint="add it under secrets:"
            )
        if not isinstance(found, str):
            raise SecretError(f"<{name}>: is not text in {self.path}", hint="quote the value there")
        return found

    def __repr__(self) -> str:
        return f"SecretFile({self.path})"

    def __getstate__(self) -> NoReturn:
        raise TypeError("a secret file must not be pickled")


def from_url(url: str) -> SecretFile:
    """
    The provider for `secretfile:///abs/path.yaml`.

    Raises:
        SecretError: The path is not absolute.
        SourceError: The file cannot be opened.
        ConfigError: It is not YAML, or not a mapping.
    """
    path = Path(unquote(url.partition("://")[2]))
    if not path.is_absolute():
        raise SecretError(
            "the secret provider secretfile:// needs an absolute path",
            hint="three slashes: secretfile:///etc/maverics/secrets.yaml",
        )
    return SecretFile(path)


def _lookup(values: Any, name: str) -> Any:
    """The value of *name* as it stands, else level by level along its dots."""
    if not isinstance(values, dict):
        return None
    if name in values:
        return values[name]
    first, dot, rest = name.partition(".")
    return _lookup(values.get(first), rest) if dot else None
