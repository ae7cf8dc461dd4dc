"""
What the steps of `rotator check` do: each looks at one thing and says what it saw.

A step returns a few words for the line it has in the result, or `Advice` where something works but
deserves a look. It fails by raising a `RotatorError`, whose hint is the remedy. Nothing is written.
"""

from __future__ import annotations

from redis.exceptions import NoPermissionError, ResponseError

from rotator.config.schema import CacheConfig
from rotator.diagnose.detect import detect
from rotator.diagnose.network import greet, knock, resolve
from rotator.errors import ConfigError, LoginError, RightsError, ServerError
from rotator.probe import Advice, Probe
from rotator.secrets.provider import provider_from_url
from rotator.server.acl import WRITING, granting, missing_rights
from rotator.server.replies import refusal
from rotator.server.topology import discover
from rotator.tls import tls_context
from rotator.wording import count, listing

_SAMPLES = 50
_SETTLE_SECONDS = 3.0


def key_material(probe: Probe) -> str:
    """Every secret resolves, every key is one, and formats and names are understood."""
    keyring = probe.access.keyring
    if keyring is None:
        return "encryption is off"
    return f"current key {keyring.current.id}, {count(len(keyring.old), 'old key')}"


def name_resolution(probe: Probe) -> str:
    """The host has an IP address."""
    return listing(resolve(probe.reached))


def tcp(probe: Probe) -> str:
    """Something listens on the port."""
    knock(probe.reached)
    return f"{probe.reached} accepts connections"


def tls(probe: Probe) -> str:
    """Both sides speak TLS, or neither does."""
    profile = probe.config.tls_profile(probe.cache)
    context = tls_context(profile, provider_from_url(probe.provider_url))
    probe.greeting = greet(probe.reached, context, probe.cache.field("redis.tls"))
    if profile is None or probe.greeting.tls is None:
        return "none, on either side"
    return f"{probe.greeting.tls}, profile {profile.name}"


def authentication(probe: Probe) -> str:
    """The server lets us in."""
    reply = b"" if probe.greeting is None else probe.greeting.reply
    if reply.startswith(b"-DENIED"):
        raise LoginError(
            f"{probe.reached} runs in protected mode: it lets only its own machine in",
            hint="give the server a password or an ACL user, and that to redis.password",
        )
    if reply.startswith(b"-NOAUTH") and probe.cache.password is None:
        raise LoginError(
            f"{probe.reached} asks for a login, and none is configured",
            hint=f"set {probe.cache.field('redis.password')}, and username for an ACL user",
        )
    try:
        probe.node.connection.call("PING")
    except LoginError as error:
        raise LoginError(str(error), hint=_login_remedy(str(error), probe.cache)) from None
    except NoPermissionError:
        pass  # PING is not for everyone: it was let in all the same
    except ResponseError as error:
        said = refusal(error).message
        raise ServerError(
            f"{probe.reached} refuses to talk: {said}",
            hint="try again when it has loaded" if said.startswith("LOADING") else None,
        ) from None
    user = probe.access.login.username
    return f"logged in as {user}" if user else "logged in as the default user"


def _login_remedy(text: str, cache: CacheConfig) -> str:
    """What to do when the server refuses a login with this *text*."""
    password = cache.field("redis.password")
    if "without any password configured" in text:
        return f"the server has no password: remove {password}, or is it the wrong server?"
    return (
        f"correct {cache.field('redis.username')} and {password}, or ask an administrator whether"
        " the ACL user exists and is switched on"
    )


def rights(probe: Probe) -> str:
    """The user may do all that a run does."""
    missing = missing_rights(probe.node, writes=True, pattern=probe.access.settings.match[0])
    if not missing:
        return "all that a run needs"
    enough = "may do a dry run; for a run the user" if set(missing) <= set(WRITING) else "the user"
    raise RightsError(f"{enough} lacks rights: {' '.join(missing)}", hint=granting(missing))


def topology(probe: Probe) -> str:
    """Who owns the data, and whether every owner is known."""
    addresses = probe.cache.addresses
    found = discover(addresses, probe.access.connect, patience=_SETTLE_SECONDS)
    if found.problems:
        more = len(found.problems) - 1
        raise ServerError(
            found.problems[0] + (f" (and {count(more, 'more problem')})" if more else ""),
            hint="bring the cluster into order first: redis-cli --cluster check",
        )
    if found.unlisted:
        missing = listing(map(str, found.unlisted))
        raise ConfigError(
            f"the cluster has {count(len(found.primaries), 'primary', 'primaries')}, and"
            f" {count(len(found.unlisted), 'is', 'are')} not in the configuration: {missing}",
            hint=f"list all nodes in {probe.cache.field('redis.addresses')}: with only some of them"
            " applications get MOVED for names of the others",
        )
    return f"{found.mode}, {count(len(found.primaries), 'primary', 'primaries')}"


def formats(probe: Probe) -> str | Advice:
    """Whether stored values open with what is configured."""
    access = probe.access
    if access.codec is None:
        return "encryption is off"
    found = detect(access, _SAMPLES)
    if not found.strings:
        return "nothing to try"
    opened = sum(hit.count for hit in found.opened)
    tells = f"`rotator detect --cache {probe.cache.name}` tells more"
    if opened == found.strings:
        names = listing(dict.fromkeys(hit.format.name for hit in found.opened))
        return f"{count(opened, 'sampled value')} opened: {names}"
    if opened:
        return Advice(
            f"{found.strings - opened} of {found.strings} sampled values do not open", tells
        )
    none = f"none of {count(found.strings, 'sampled value')} opens"
    keys = probe.cache.field("encryption.keys")
    if found.formats:
        raise ConfigError(
            f"{none} in a configured format, but they do in another one",
            hint=f"`rotator detect --cache {probe.cache.name}` prints it, ready to be configured",
        )
    if found.unknown_keys:
        raise ConfigError(
            f"{none}: the key {next(iter(found.unknown_keys))} is not in the configuration",
            hint=f"add it to {keys}.old; `rotator keys` lists the ids of those that are there",
        )
    raise ConfigError(
        f"{none}",
        hint=f"do {keys}.current and old have the applications' keys, former ones too? {tells}",
    )
