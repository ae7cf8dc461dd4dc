"""
Cache context: resolves secrets, makes keyring, codec and login, connects.

A context is opened where it is used and never travels: what goes to another process is the list of
configuration files and the cache's name.
"""

from __future__ import annotations

import hashlib
import json
import os
import ssl
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Self

import structlog

from rotator.config.load import RotatorConfig, load
from rotator.config.schema import SAME, CacheConfig, TlsProfile
from rotator.config.types import Address, Provider, SecretRef
from rotator.console import start_logging
from rotator.crypto.codec import Codec
from rotator.crypto.keyring import Key, Keyring
from rotator.crypto.layout import BUILTIN, Format
from rotator.errors import ConfigError, FormatError, SourceError
from rotator.secrets.provider import PROVIDER_VARIABLE, Unpicklable, provider_from_url
from rotator.server.connection import Connection
from rotator.server.store import Store
from rotator.server.wire.login import Login
from rotator.server.wire.stream import Patience
from rotator.tls import (
    add_trusted,
    client_context,
    pem_file,
    show_certificate,
    suite_name,
    usable,
)

log = structlog.get_logger(__name__)


def open_config(files: Sequence[Path] | None) -> RotatorConfig:
    """
    Read the configuration of *files*, and write what it warns of to the log.

    Raises:
        ConfigError: It cannot be read, or something in it is wrong.
    """
    config = load(files or ())
    start_logging()
    for warning in config.warnings:
        log.warning(warning)
    for name in config.skipped:
        log.info("skipped, its type is cluster", cache=name)
    return config


class CacheContext(Unpicklable):
    """
    Cache context: connects to one cache; with encryption on, it has a keyring and a codec.

    *patience* knows when a run is to end: no slow answer is waited for any longer.

    Raises:
        ConfigError: A key, a format or a TLS profile is wrong.
        SecretError: A reference cannot be resolved.
        SourceError: The secret provider cannot be reached.
    """

    def __init__(
        self, config: RotatorConfig, cache: CacheConfig, provider: Provider | None
    ) -> None:
        self.cache = cache
        self.settings = config.settings(cache)
        self.login = Login(
            _resolve(cache.redis.username, provider),
            _resolve(cache.redis.password, provider),
            tls_context(config.tls_profile(cache), provider),
        )
        self.keyring = open_keyring(cache, provider)
        self.formats = known_formats(config)
        self.scope = scope_digest(config, cache)
        self.codec = None
        if self.keyring is not None:
            write = self.settings.write
            tried = [self.formats[name] for name in self.settings.formats]
            written = None if write == SAME else self.formats[write]
            self.codec = Codec(self.keyring, tried, written, self.settings.labels)
            self._check_labels(self.codec)
        self._neighbours = partial(_neighbours, config, cache, provider)
        self.patience = Patience()

    @classmethod
    def open(
        cls, config: RotatorConfig, name: str | None = None, provider_url: str | None = None
    ) -> Self:
        """
        Open the cache called *name*; without a name the only one.

        *provider_url* names the secret provider; None: `MAVERICS_SECRET_PROVIDER` does.

        Raises:
            ConfigError: There is no such cache, there are several to choose from, or see the class.
            SecretError, SourceError: See the class.
        """
        url = os.environ.get(PROVIDER_VARIABLE) if provider_url is None else provider_url
        return cls(config, config.cache(name), provider_from_url(url))

    @cached_property
    def neighbours(self) -> tuple[Codec, ...]:
        """The codecs of other caches that may be on the same server."""
        return tuple(self._neighbours())

    def _check_labels(self, codec: Codec) -> None:
        """Raise FormatError if a label cannot be one, or only an old value tells what to write."""
        for key_id, label in self.settings.labels.items():
            for form in codec.formats:
                if fault := form.cutter.label_fault(label):
                    field = f"rotator.caches.{self.cache.name}.labels.{key_id}"
                    hint = "write it as values have it; `rotator detect` prints labels"
                    raise FormatError(f"{field}: {fault} in the format {form.name}", hint=hint)
        if codec.write is not None and codec.write.cutter.kept:
            fault = codec.fault(codec.write, new=True)
            hint = f"write {SAME}, or a format without {{keep}}"
            raise FormatError(f"rotator.caches.{self.cache.name}.write: {fault}", hint=hint)

    def require_labels(self) -> None:
        """
        Demand a label for the current key, where a format has labels; nothing is written without.

        Raises:
            FormatError: There is none.
        """
        codec = self.codec
        for form in codec.formats if codec else ():
            if codec and form.cutter.labelled and codec.keyring.current.id not in codec.labels:
                raise FormatError(
                    f"rotator.caches.{self.cache.name}.labels: no label for the current key"
                    f" {codec.keyring.current.id}, and the format {form.name} has one",
                    hint="write the label that applications use; `rotator detect` prints labels",
                )

    def __repr__(self) -> str:
        return f"CacheContext({self.cache.name!r})"

    def may_log_in(self, address: Address) -> bool:
        """
        Return whether the password may be sent to a server that only an INFO names.

        Whoever may replicate can name any address there (redis-rules 8).
        """
        replicas = self.settings.replicas
        listed = {*self.cache.addresses, *replicas.listed, *(replicas.only or ())}
        return not self.login.has_password or replicas.announced or address in listed

    def connect(self, address: Address) -> Store:
        """Return a store on a new pinned connection to *address*, or to where it is mapped."""
        reached = self.settings.address_map.get(address, address)
        return Store(Connection(reached, self.login, patience=self.patience).open())


def select(
    config: RotatorConfig, names: Sequence[str], provider: Provider | None
) -> list[CacheContext]:
    """
    Open the caches called *names*, else every one with encryption on.

    Raises:
        ConfigError: There is no such cache, none is left, or a key or format is wrong.
        SourceError: The secret provider cannot be reached.
    """
    if names:
        chosen = [config.cache(name) for name in dict.fromkeys(names)]
    else:
        chosen = [cache for cache in config.caches if not cache.encryption.disabled]
        for cache in config.caches:
            if cache.encryption.disabled:
                log.info("cache is not encrypted, nothing to rotate", cache=cache.name)
    if not chosen:
        raise ConfigError(
            "caches: every cache has encryption disabled, so there is nothing to rotate",
            hint="is this the right configuration?",
        )
    return [CacheContext(config, cache, provider) for cache in chosen]


def _neighbours(
    config: RotatorConfig, cache: CacheConfig, provider: Provider | None
) -> Iterator[Codec]:
    """Yield the codecs of other caches at an address of *cache*, as far as their keys are known."""
    for other in config.caches:
        if other.name == cache.name or not set(other.addresses) & set(cache.addresses):
            continue
        try:
            codec = CacheContext(config, other, provider).codec
        except (ConfigError, SourceError) as error:
            log.info("values of another cache cannot be opened", cache=other.name, error=str(error))
            continue
        if codec is not None:
            yield codec


def _resolve(reference: SecretRef | None, provider: Provider | None) -> str | None:
    """Return the secret itself."""
    return None if reference is None else reference.resolve(provider)


def open_keyring(cache: CacheConfig, provider: Provider | None) -> Keyring | None:
    """
    Resolve the keys of *cache*; None with encryption off.

    Raises:
        KeyMaterialError: A key is no 64 hex characters, or listed twice.
        SecretError: A reference cannot be resolved.
        SourceError: The secret provider cannot be reached.
    """
    keys = [Key.from_text(ref.resolve(provider), ref.field) for ref in cache.key_refs]
    return Keyring(keys[0], keys[1:]) if keys else None


def all_keyrings(
    config: RotatorConfig, selected: Sequence[CacheContext], provider: Provider | None
) -> dict[str, Keyring | None]:
    """
    Return the keys of every encrypted cache by its name; None where they cannot be known now.

    Those that are not *selected* count too: a key may be shared with one of them.
    """
    keyrings = {access.cache.name: access.keyring for access in selected}
    for cache in config.caches:
        if cache.encryption.disabled or cache.name in keyrings:
            continue
        try:
            keyrings[cache.name] = open_keyring(cache, provider)
        except (ConfigError, SourceError) as error:
            log.warning("keys of a cache that is not in this run are not known", error=str(error))
            keyrings[cache.name] = None
    return keyrings


def known_formats(config: RotatorConfig) -> dict[str, Format]:
    """Return all formats by their names: those of rotator, and those of the configuration."""
    return BUILTIN | {
        name: Format.parse(name, **dict(given)) for name, given in config.rotator.formats.items()
    }


def scope_digest(config: RotatorConfig, cache: CacheConfig) -> str:
    """Return a digest of what of a cache is visited, and in which formats; not of its keys."""
    settings, formats = config.settings(cache), known_formats(config)
    described = [str(formats[one]) for one in settings.formats]
    scope: list[object] = [settings.match, settings.databases, described]
    scope += [settings.fields] if settings.fields else []  # else as earlier versions wrote it
    return hashlib.sha256(json.dumps(scope).encode()).hexdigest()


def tls_context(profile: TlsProfile | None, provider: Provider | None) -> ssl.SSLContext | None:
    """
    Return the context that *profile* describes; None without a profile.

    Raises:
        ConfigError: A file is missing or is no PEM, key and certificate do not belong together, or
            a cipher suite is not known.
        SecretError: A reference cannot be resolved.
    """
    if profile is None:
        return None
    context = client_context(profile.min_version)
    _set_ciphers(context, profile)
    if profile.ca is not None:
        with usable(profile.ca.field, "a file or secret with certificates in PEM"):
            add_trusted(context, _pem(profile.ca, provider))
    if profile.cert_file is not None:
        key = profile.key_file or profile.cert_file
        with (
            usable(
                f"{profile.cert_file.field}, {key.field}",
                "PEM, and key and certificate of one pair",
            ),
            pem_file(_pem(profile.cert_file, provider)) as cert_file,
            pem_file(_pem(key, provider)) as key_file,
        ):
            show_certificate(context, cert_file, key_file)
    return context


def _set_ciphers(context: ssl.SSLContext, profile: TlsProfile) -> None:
    """Allow only the suites of *profile* in TLS 1.2, if it names any."""
    names = []
    for index, cipher in enumerate(profile.enabled_ciphers):
        field = profile.field(f"enabledCiphers[{index}]")
        with usable(field, "a TLS 1.2 suite by its IANA or OpenSSL name"):
            if (name := suite_name(cipher)) is not None:
                # Of a list, OpenSSL passes over in silence what its security level forbids.
                context.set_ciphers(name)
                names.append(name)
    if names:
        context.set_ciphers(":".join(names))
    elif profile.enabled_ciphers:
        raise ConfigError(
            f"{profile.field('enabledCiphers')}: names no suite of TLS 1.2",
            hint="suites of TLS 1.3 cannot be chosen: name others as well, or leave it out",
        )


def _pem(reference: SecretRef, provider: Provider | None) -> str:
    """Return PEM: the secret's own, or that of the file at the path that is given."""
    text = reference.resolve(provider)
    return text if "-----BEGIN" in text else Path(text.strip()).read_text(errors="ignore")
