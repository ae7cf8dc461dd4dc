"""
Steps: try one thing each, and name its remedy.

A step of `rotator check` returns a few words for the line that it has in the result, or `Advice`
where something works but deserves a look. It fails by raising a `RotatorError`, whose hint is the
remedy. Nothing is written. `Probe` carries what earlier steps found out.
"""

from dataclasses import dataclass, field
from pathlib import Path

from rotator.config.load import RotatorConfig
from rotator.config.schema import CacheConfig
from rotator.config.types import Address
from rotator.diagnose.detect import count_hashes, detect, nothing_opens
from rotator.diagnose.network import PingReply, check_tcp, check_tls, resolve_host
from rotator.errors import LoginError, RightsError, ServerError
from rotator.secrets.provider import provider_from_url
from rotator.server.acl import (
    WRITING,
    grant_hint,
    missing_for_verdict,
    missing_rights,
    missing_to_listen,
    with_fields,
)
from rotator.server.context import CacheContext, tls_context
from rotator.server.replies import AnswerError, ErrorKind, ErrorReply
from rotator.server.store import Store
from rotator.server.topology import discover, refuse_sentinel
from rotator.text import count, listing

_SAMPLES = 50
SETTLE_SECONDS = 3.0


@dataclass(frozen=True)
class Advice:
    """Advice: names what works but may not for long, and what to do about it."""

    detail: str
    remedy: str


@dataclass(frozen=True)
class Next(Advice):
    """Next: names what is well, and what comes next."""


@dataclass
class Probe:
    """Probe: holds the cache or node being looked at, and what earlier steps found out about it."""

    config: RotatorConfig
    cache: CacheConfig
    provider_url: str | None = field(repr=False)  # it may hold a token
    state: Path | None = None
    address: Address | None = None
    opened: CacheContext | None = None  # by the step `key material`
    greeting: PingReply | None = None
    store: Store | None = None

    @property
    def access(self) -> CacheContext:
        """The cache with its secrets resolved."""
        if self.opened is None:
            self.opened = CacheContext.open(self.config, self.cache.name, self.provider_url)
        return self.opened

    @property
    def configured(self) -> Address:
        """The address of the node in the configuration."""
        if self.address is None:
            raise ValueError("a step of a node was tried without one")
        return self.address

    @property
    def reached(self) -> Address:
        """The address at which the node is reached from here."""
        return self.access.settings.address_map.get(self.configured, self.configured)

    @property
    def node(self) -> Store:
        """The node, connected to and logged in."""
        if self.store is None:
            self.store = self.access.connect(self.configured)
        return self.store


def key_material(probe: Probe) -> str | Advice:
    """Resolve every secret, read every key, format and name; every label is that of a key."""
    keyring = probe.access.keyring
    if keyring is None:
        return "encryption is off"
    seen = f"current key {keyring.current.id}, {count(len(keyring.old), 'old key')}"
    keys = {key.id for key in keyring.all}
    stray = [key_id for key_id in probe.access.settings.labels if key_id not in keys]
    if not stray:
        return seen
    one = len(stray) == 1
    are = "is not the id of a configured key" if one else "are not ids of configured keys"
    remedy = "correct or remove it: `rotator keys` lists the ids"
    return Advice(f"{seen}; labels: {listing(stray)} {are}", remedy)


def name_resolution(probe: Probe) -> str:
    """Resolve the host to IP addresses."""
    return listing(resolve_host(probe.reached))


def tcp(probe: Probe) -> str:
    """Connect to the port."""
    check_tcp(probe.reached)
    return f"{probe.reached} accepts connections"


def tls(probe: Probe) -> str:
    """Shake hands: both sides speak TLS, or neither does."""
    profile = probe.config.tls_profile(probe.cache)
    context = tls_context(profile, provider_from_url(probe.provider_url))
    probe.greeting = check_tls(probe.reached, context, probe.cache.field("redis.tls"))
    if profile is None or probe.greeting.tls is None:
        return "none, on either side"
    return f"{probe.greeting.tls}, profile {probe.cache.redis.tls}"


def authentication(probe: Probe) -> str:
    """Log in, and send a PING."""
    reply = b"" if probe.greeting is None else probe.greeting.reply
    if reply.startswith(b"-DENIED"):
        hint = "give the server a password or an ACL user, and set it in redis.password"
        text = f"{probe.reached} runs in protected mode: it takes only local connections"
        raise LoginError(text, hint=hint)
    if reply.startswith(b"-NOAUTH") and probe.cache.redis.password is None:
        hint = f"set {probe.cache.field('redis.password')}, and username for an ACL user"
        raise LoginError(f"{probe.reached} asks for a login, and none is configured", hint=hint)
    try:
        pong = probe.node.answer("PING")
    except LoginError as error:
        raise LoginError(str(error), hint=_login_remedy(str(error), probe.cache)) from None
    # PING is not for everyone: a user who may not send it was let in all the same.
    if isinstance(pong, ErrorReply) and pong.meaning is not ErrorKind.DENIED:
        raise ServerError(
            f"{probe.reached} refuses PING: {pong.message}",
            hint="try again when it has loaded" if pong.message.startswith("LOADING") else None,
        )
    if not isinstance(pong, ErrorReply) and pong != b"PONG":
        raise AnswerError(f"{probe.reached} gave an answer to PING that is not understood")
    probe.node.connection.pipeline([("INFO", "server")])  # some proxies close at that: see why here
    return f"logged in as {probe.access.login.username or 'the default user'}"


def _login_remedy(text: str, cache: CacheConfig) -> str:
    """Return what to do when the server refuses a login with this *text*."""
    password = cache.field("redis.password")
    if "without any password configured" in text:
        return f"the server has no password: remove {password}, or is it the wrong server?"
    return (
        f"correct {cache.field('redis.username')} and {password}, or ask an administrator whether"
        " the ACL user exists and is on"
    )


def rights(probe: Probe) -> str:
    """Try the rights to all that a run does."""
    refuse_sentinel(probe.node)
    settings = probe.access.settings
    wanted = with_fields(WRITING, settings.fields)
    missing = missing_rights(probe.node, wanted, settings.match[0])
    if not missing:
        return "all that a run needs"
    writing = {*wanted} - {*with_fields((), settings.fields)}
    enough = "may do a dry run; for a run the user" if {*missing} <= writing else "the user"
    told = f"{enough} lacks rights: {' '.join(missing)}"
    raise RightsError(told, hint=grant_hint(missing, probe.node.connection.user))


def verdict_rights(probe: Probe) -> str | Advice:
    """Try the rights without which a key may never be known to be retirable."""
    refuse_sentinel(probe.node)
    missing = missing_for_verdict(probe.node)
    with probe.access.connect(probe.reached) as listener:
        missing |= missing_to_listen(listener, probe.cache.name)
    if not missing:
        return "all that verdicts need"
    remedy = grant_hint(missing, probe.node.connection.user)
    return Advice(f"some verdicts need {' '.join(missing)}", remedy)


def topology(probe: Probe) -> str:
    """Find the nodes that own the data, and those that are not configured."""
    addresses = probe.cache.addresses
    found = discover(addresses, probe.access.connect, settle_timeout=SETTLE_SECONDS)
    if found.problems:
        more = len(found.problems) - 1
        raise ServerError(
            found.problems[0] + (f" (and {count(more, 'more problem')})" if more else ""),
            hint="repair the cluster first: redis-cli --cluster check",
        )
    seen = f"{found.mode}, {count(len(found.primaries), 'primary', 'primaries')}"
    if found.unlisted:
        return f"{seen}; not in redis.addresses: {listing(map(str, found.unlisted))}"
    return seen


def formats(probe: Probe) -> str | Advice:
    """Open a sample of values with what is configured."""
    access = probe.access
    if access.codec is None:
        return "encryption is off"
    access.require_labels()
    found = detect(access, _SAMPLES)
    if found.wrong_key:
        raise found.wrong_key
    hashes = "" if access.settings.fields and found.strings else _hashes(access)
    if not found.strings:
        hint = f"such as rotator.caches.{probe.cache.name}.fields: [data]"
        return Advice(hashes, hint) if hashes else "nothing to try"
    opened = found.opened.total()
    tells = f"`rotator detect --cache {probe.cache.name}` tells more"
    if opened == found.strings:
        names = listing(dict.fromkeys(form.name for (form, _), _ in found.opened.most_common()))
        return "; ".join(
            filter(None, (f"{count(opened, 'sampled value')} opened: {names}", hashes))
        )
    if opened:
        return Advice(
            f"{found.strings - opened:,} of {found.strings:,} sampled values do not open", tells
        )
    raise nothing_opens(probe.cache, found)


def _hashes(access: CacheContext) -> str:
    """Return what is said of the hashes of a cache; nothing if it has none."""
    found = []
    for address in discover(access.cache.addresses, access.connect).primaries:
        with access.connect(address) as store:
            found += count_hashes(store, access.settings.match, access.settings.databases)
    number, whole = sum(filter(None, found)), None not in found
    many = count(number, "hash", "hashes") if whole else f"more than {number:,} hashes"
    return f"{many}: rotator looks into fields that `fields` names" if number else ""
