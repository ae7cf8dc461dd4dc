"""The TLS profile that a cache names, checked; the other profiles under `tls` are not looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import SecretStr

from rotator.cacheconfig import CacheConfig, secret_at
from rotator.config.files import shown
from rotator.config.schema import TlsSection
from rotator.config.types import read_section
from rotator.document import child, expand
from rotator.errors import ConfigError
from rotator.secrets.reference import SecretRef


@dataclass(frozen=True)
class TlsProfile:
    """
    A profile of the `tls` section, as a client uses it.

    *ca*, *cert* and *key* are paths (`SecretRef.plain`) or secrets holding PEM; *ca* is added to
    the system's trust. *ciphers* are TLS 1.2 suites; none: the library's own choice.
    """

    name: str
    ca: SecretRef | None
    cert: SecretRef | None
    key: SecretRef | None
    min_version: Literal["1.2", "1.3"]
    ciphers: tuple[str, ...]


def read_profile(cache: CacheConfig, profiles: Any) -> TlsProfile:
    """The TLS profile that *cache* names; the others may be broken for all we know."""
    name = str(cache.tls)
    profiles = profiles if isinstance(profiles, dict) else {}
    if name not in profiles:
        known = ", ".join(shown(str(known)) for known in profiles)
        raise ConfigError(
            f"{cache.field('redis.tls')}: there is no such profile under tls",
            hint=f"profiles are {known}" if known else "add the profile under tls",
        )
    path = child("tls", name)
    section = read_section(TlsSection, expand(profiles[name], path), path)
    ca = "caFile" if section.ca_file else "caPath"
    if section.key_file and not section.cert_file:
        raise ConfigError(f"{path}.keyFile: needs certFile", hint="give both, or neither")
    return TlsProfile(
        name=name,
        ca=_file(section.ca_file or section.ca_path, f"{path}.{ca}"),
        cert=_file(section.cert_file, f"{path}.certFile"),
        key=_file(section.key_file, f"{path}.keyFile"),
        min_version=section.min_version,
        ciphers=section.enabled_ciphers,
    )


def _file(given: SecretStr | None, path: str) -> SecretRef | None:
    """A file's path, or a secret that holds PEM; PEM in the configuration itself is a secret."""
    return secret_at(
        given, path, plain=given is not None and "-----BEGIN" not in given.get_secret_value()
    )
