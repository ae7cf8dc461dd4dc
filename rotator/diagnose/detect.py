"""
Detection: samples values and names their format and key, reading only.

1. Sample values of every database of every primary.
2. Open each with the configured formats and keys.
3. Guess the format of what does not open (`format_search`).
4. From what was guessed, make the configuration that opens it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from rotator.crypto.codec import Codec, Opened, Reason
from rotator.crypto.encoding import Encoding
from rotator.crypto.format_search import Place, search_formats
from rotator.crypto.keyring import Key
from rotator.crypto.layout import BUILTIN, Format
from rotator.errors import ConfigError, Exit
from rotator.server.context import CacheContext
from rotator.server.replies import NoValue
from rotator.server.store import START, Store, Value
from rotator.server.topology import discover
from rotator.sweep.node.field_reader import FieldReader, entries
from rotator.sweep.node.scan import PageReader
from rotator.sweep.scope import Scope
from rotator.tally.tally import Mode

SAMPLES = 200
_EXPLAINED = 20  # values that are tried under other names, and how many of these
_OTHER_NAMES = 500
_PAGE = 50  # names


Hits = Counter[tuple[Format, Key]]
"""Values that opened, counted by their format and key."""


@dataclass(frozen=True)
class Detection:
    """
    Detection: tells what a sample of values came to.

    - *strings*: how many of those looked at have a value to open
    - *opened*: by configured formats; *guessed*: by others, which are not configured
    - *refused*: why the rest does not open, with counts; *unknown_keys*: ids that values name
    - *other*: what is no string, or could not be read
    """

    strings: int
    nested: int
    databases: tuple[int, ...]
    opened: Hits
    guessed: Hits
    refused: Counter[Reason]
    unknown_keys: Counter[str]
    other: Counter[str]

    @property
    def names(self) -> int:
        """The number of names that were looked at."""
        return self.strings + self.other.total()

    @property
    def exit_code(self) -> Exit:
        """0 if all opens, 3 if some does not, 5 if nothing encrypted was found."""
        encrypted = [reason for reason in self.refused if reason is not Reason.NOT_A_FORMAT]
        if not self.opened and not self.guessed and not encrypted:
            return Exit.EMPTY
        return Exit.NOT_MOVED if self.refused or self.guessed else Exit.OK

    @property
    def formats(self) -> tuple[Format, ...]:
        """The formats that were guessed, the most frequent first."""
        return tuple(dict.fromkeys(form for (form, _), _ in self.guessed.most_common()))

    def configuration(self, access: CacheContext) -> dict[str, Any] | None:
        """Return the `rotator` section that opens what was guessed; None: none is needed."""
        if not self.formats:
            return None
        custom = {
            form.name: as_configured(form) for form in self.formats if form.name not in BUILTIN
        }
        # Ahead of the others: new values get the first format, and applications read this one.
        names = [*(form.name for form in self.formats), *access.settings.formats]
        caches = {access.cache.name: {"formats": names}}
        return {"rotator": {"formats": custom, "caches": caches} if custom else {"caches": caches}}


@dataclass
class _Sample:
    """Sample: holds values by database and name, and counts what has none."""

    values: dict[Place, bytes] = field(default_factory=dict)
    other: Counter[str] = field(default_factory=Counter)
    databases: set[int] = field(default_factory=set)

    def add(self, database: int, entries: Iterable[tuple[bytes, Value]]) -> None:
        """Take *entries* of one database."""
        self.databases.add(database)
        for name, value in entries:
            if isinstance(value, bytes):
                self.values[database, name] = value
            else:
                self.other[value.value if isinstance(value, NoValue) else "failed"] += 1


def detect(access: CacheContext, samples: int = SAMPLES) -> Detection:
    """
    Sample up to *samples* values of a cache and say what opens them.

    Raises:
        ConfigError: The cache's encryption is off.
        ServerError: A node cannot be reached.
        RightsError: The user may not read.
    """
    codec = access.codec
    if codec is None:
        raise ConfigError(
            f"{access.cache.field('encryption.disabled')}: encryption is off",
            hint="values of this cache are stored as they are: there is nothing to detect",
        )
    taken = _sample(access, samples)
    opened: Hits = Counter()
    closed: dict[Place, Reason] = {}
    nested = 0
    for place, value in taken.values.items():
        found = codec.open(place[1], value)
        if isinstance(found, Opened):
            opened[access.formats[found.format.name], found.key] += 1
            nested += bool(found.inner)
        else:
            closed[place] = found
    values = {place: taken.values[place] for place in closed}
    guessed = search_formats(codec.keyring, access.formats, access.settings.formats, values)
    refused = {place: reason for place, reason in closed.items() if place not in guessed}
    return Detection(
        strings=len(taken.values),
        nested=nested,
        databases=tuple(sorted(taken.databases)),
        opened=opened,
        guessed=Counter(guessed.values()),
        refused=_reasons(codec, taken.values, refused),
        unknown_keys=_unknown_keys(codec, (taken.values[place] for place in refused)),
        other=taken.other,
    )


def as_configured(form: Format) -> dict[str, Any]:
    """Return a format as the configuration describes it."""
    return {"encoding": str(form.encoding), "layout": list(form.layout), "aad": form.aad}


def _sample(access: CacheContext, samples: int) -> _Sample:
    """Take a sample, each node and database having its share of it."""
    settings = access.settings
    scope = Scope(Mode.DRY_RUN, settings.match, settings.databases, outside=False)
    taken, fields = _Sample(), FieldReader.of(settings.fields)
    primaries = discover(access.cache.addresses, access.connect).primaries
    for index, address in enumerate(primaries):
        with access.connect(address) as store:
            store.enable_no_touch()
            held = store.databases()
            # The smaller ones first, so that what they cannot fill is left to the larger ones.
            scans = scope.scans(sorted(held, key=held.__getitem__))
            left = (samples - len(taken.values)) // (len(primaries) - index)
            for turn, (database, pattern) in enumerate(scans):
                before = len(taken.values)
                if share := -(-left // (len(scans) - turn)):
                    taken.add(database, islice(_entries(store, database, pattern, fields), share))
                left -= len(taken.values) - before
    return taken


def _entries(
    store: Store, database: int, pattern: str | None, fields: FieldReader | None
) -> Iterator[tuple[bytes, Value]]:
    """Yield every entry, or field, of one database once, page by page as a sweep meets them."""
    seen: set[bytes] = set()
    reader = PageReader(store, database, pattern, START, lambda: _PAGE)
    while (page := reader.take()) is not None:
        for names, values in entries(fields, store, page.names, page.values()):
            for name, value in zip(names, values, strict=True):
                if name not in seen and value is not NoValue.GONE:
                    seen.add(name)
                    yield name, value


def _reasons(
    codec: Codec, values: Mapping[Place, bytes], closed: Mapping[Place, Reason]
) -> Counter[Reason]:
    """Return why values do not open, looked at more closely."""
    reasons: Counter[Reason] = Counter()
    others = [name for _, name in islice(values, _OTHER_NAMES)]
    for (database, name), reason in closed.items():
        value = values[database, name]
        if reason is Reason.BAD_TAG and _is_text(value):
            closer = Reason.NOT_A_FORMAT
        elif reasons.total() < _EXPLAINED:
            closer = codec.explain(name, value, reason, others)
        else:
            closer = reason
        reasons[closer] += 1
    return reasons


def _is_text(value: bytes) -> bool:
    """Tell whether *value* is text and no encoding of anything: codecs may doubt if it is short."""
    plain = ("nonce:8", "ciphertext", "tag:16")
    return value.isascii() and not any(
        Format("text", encoding, plain, "none").cutter.cut(value)
        for encoding in Encoding
        if encoding is not Encoding.RAW
    )


def _unknown_keys(codec: Codec, values: Iterable[bytes]) -> Counter[str]:
    """Count what *values* call keys that the keyring does not have."""
    return Counter(filter(None, map(codec.named_key, values)))
