"""
Bundle: holds one configuration, and says how large files may be.

A bundle is read in memory; nothing is extracted. Its signature is the Orchestrator's business.
"""

import gzip
import io
import posixpath
import tarfile
import zlib
from pathlib import Path

from rotator.errors import ConfigError

BUNDLED = ("maverics.yaml", "maverics.yml", "maverics.json")
MAX_BYTES = 16 << 20
MAX_BUNDLE_BYTES = 128 << 20
"""The most that all members of a bundle may have together, unpacked."""


def read_limited(path: Path) -> bytes:
    """Return what a file holds, which may be a pipe or endless; at most one byte too much."""
    with path.open("rb") as file:
        return file.read(MAX_BUNDLE_BYTES + 1)


def unpack(content: bytes, origin: str) -> tuple[str, bytes]:
    """
    Return the name and the content of the configuration in a bundle.

    Raises:
        ConfigError: It is no bundle, too large, or has no configuration, or more than one.
    """
    try:
        with gzip.open(io.BytesIO(content)) as packed:
            unpacked = packed.read(MAX_BUNDLE_BYTES + 1)
        if len(unpacked) > MAX_BUNDLE_BYTES:
            raise too_large(origin)
        with tarfile.open(fileobj=io.BytesIO(unpacked), mode="r:") as bundle:
            found = [(name, one) for one in bundle if (name := _place(one)) in BUNDLED]
            # Of two members readers take different ones, also where both have the same name.
            if len(found) != 1 or not found[0][1].isreg():
                raise ConfigError(
                    f"{origin}: holds {'more than one' if found[1:] else 'no'} configuration",
                    hint=f"a bundle has one of {', '.join(BUNDLED)} at its root",
                )
            ((name, member),) = found
            file = bundle.extractfile(member)
            return name, file.read(MAX_BYTES + 1) if file else b""
    except (tarfile.TarError, zlib.error, EOFError, OSError):
        raise ConfigError(
            f"{origin}: is not a readable bundle", hint="a bundle is a tar archive, gzipped"
        ) from None


def _place(member: tarfile.TarInfo) -> str:
    """Return where a member is unpacked to, however it is spelled."""
    return posixpath.normpath(f"/{member.name}").lstrip("/")


def too_large(origin: str) -> ConfigError:
    """Return the error for a file that is larger than any configuration."""
    hint = "a configuration has at most 16 MiB, a bundle unpacked 128 MiB"
    return ConfigError(f"{origin}: is too large", hint=hint)
