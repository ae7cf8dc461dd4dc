"""
Detection: samples values and names their format and key, reading only.

1. Sample values of every database of every primary.
2. Open each with the configured formats and keys.
3. Search the format of what does not open (`format_search`).
4. Say of the rest why it does not open, and what wrote it if its beginning tells (`foreign`).
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

from rotator.config.schema import CacheConfig
from rotator.crypto.attempts import Place
from rotator.crypto.codec import Codec, LabelWatch, Opened, Reason
from rotator.crypto.foreign import Foreign, foreign, looks_encrypted
from rotator.crypto.format_search import Found, search_formats
from rotator.crypto.keyring import Key
from rotator.crypto.layout import Format
from rotator.errors import ConfigError, Exit, WrongKeyError
from rotator.retirement.names import NOTHING_OPENS
from rotator.server.context import CacheContext
from rotator.server.replies import NoValue
from rotator.server.store import START, Store, Value
from rotator.server.topology import discover
from rotator.sweep.node.field_reader import FieldReader, entries
from rotator.sweep.node.scan import PageReader
from rotator.sweep.scope import Scope
from rotator.tally.tally import Mode
from rotator.text import count

SAMPLES = 200
_EXPLAINED = 20  # values that are tried under other names, and how many of these
_OTHER_NAMES = 500
_PAGE = 50  # names
_LOOKS, _NAMES_A_LOOK = 200, 1_000  # calls of SCAN to count hashes


Hits = Counter[tuple[Format, Key]]
"""Values that opened, counted by their format and key."""


@dataclass(frozen=True)
class Detection:
    """
    Detection: tells what a sample of values came to.

    - *strings*: how many of those looked at have a value to open
    - *opened*: by configured formats; *guessed*: by others, which are not configured
    - *refused*: why the rest does not open, with counts; *not_a_format* does not look encrypted,
      *bad_tag* does
    - *unknown_keys*: what values call keys that are not there
    - *other*: what is no string, or could not be read
    - *foreign*: the other tools that wrote what does not open
    - *labels*: by key id, what values call keys; *alone*: by the name of a guessed format, the id
      of the only key seen in it, where a label may look like a literal; *single*: those of formats
      in which each key was seen once
    - *wrong_key*: why the current key is probably not that of applications, if it seems so
    """

    strings: int
    nested: int
    databases: tuple[int, ...]
    opened: Hits
    guessed: Hits
    refused: Counter[Reason]
    unknown_keys: Counter[str]
    other: Counter[str]
    foreign: Counter[Foreign] = field(default_factory=Counter)
    labels: Mapping[str, bytes] = field(default_factory=dict)
    alone: Mapping[str, str] = field(default_factory=dict)
    single: Collection[str] = ()
    wrong_key: WrongKeyError | None = None

    @property
    def names(self) -> int:
        """The number of names that were looked at."""
        return self.strings + self.other.total()

    @property
    def encrypted(self) -> bool:
        """True if any value opens, or looks as if it could."""
        doubtful = self.refused.total() - self.refused[Reason.NOT_A_FORMAT]
        return bool(self.opened or self.guessed or doubtful)

    @property
    def exit_code(self) -> Exit:
        """0 if all opens, 3 if some does not, 5 if nothing encrypted was found."""
        if not self.encrypted:
            return Exit.EMPTY
        return Exit.NOT_MOVED if self.refused or self.guessed else Exit.OK

    @property
    def formats(self) -> tuple[Format, ...]:
        """The formats that were guessed, the most frequent first."""
        return tuple(dict.fromkeys(form for (form, _), _ in self.guessed.most_common()))


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


def detect(access: CacheContext, samples: int = SAMPLES, aads: Sequence[str] = ()) -> Detection:
    """
    Sample up to *samples* values of a cache and say what opens them.

    *aads* are texts that may have been authenticated.

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
    nested, watch = 0, LabelWatch(codec)
    for place, value in taken.values.items():
        got = codec.open(place[1], value)
        watch.see(place[1], value, got)
        if isinstance(got, Opened):
            opened[access.formats[got.format.name], got.key] += 1
            nested += bool(got.inner)
        else:
            closed[place] = got
    values = {place: taken.values[place] for place in closed}
    found = search_formats(codec, access.formats, values, aads)
    knowing = _with(codec, found)
    left_closed = {place: why for place, why in closed.items() if place not in found.guesses}
    reasons = _reasons(codec, knowing, taken.values, left_closed)
    left = [taken.values[place] for place in reasons]
    return Detection(
        strings=len(taken.values),
        nested=nested,
        databases=tuple(sorted(taken.databases)),
        opened=opened,
        guessed=Counter(found.guesses.values()),
        labels=found.labels,
        alone=found.alone,
        single=found.single,
        refused=Counter(reasons.values()),
        unknown_keys=Counter(filter(None, map(knowing.named_key, left))),
        foreign=Counter(filter(None, map(foreign, left))),
        other=taken.other,
        wrong_key=watch.wrong_key(access.cache.field("encryption.keys.current")),
    )


def nothing_opens(cache: CacheConfig, found: Detection) -> ConfigError:
    """Return what is wrong where no value of *cache* opens as configured: layout before keys."""
    none = f"none of {count(found.strings, 'sampled value')} opens"
    command, keys = f"`rotator detect --cache {cache.name}`", cache.field("encryption.keys")
    if found.formats:
        text = f"{none} in a configured format, but they open in another one"
        return ConfigError(text, hint=f"{command} prints it, ready to paste")
    if found.foreign:
        [(one, number)] = found.foreign.most_common(1)
        return ConfigError(f"{none}; {one.name} wrote {number:,} of them", hint=one.instead)
    if found.unknown_keys:
        return ConfigError(
            f"{none}: the key {next(iter(found.unknown_keys))} is not in the configuration",
            hint=f"add it to {keys}.old; `rotator keys` lists the ids of the configured keys",
        )
    if not found.encrypted:
        return ConfigError(
            f"{none}, and none looks encrypted",
            hint=f"is it the right cache? `rotator adopt` encrypts plaintext; {command} tells more",
        )
    return ConfigError(
        f"{none}: {NOTHING_OPENS}",
        hint=f"{command} searches for the layout, with --aad for more; if it finds none, do"
        f" {keys}.current and old have the applications' keys, former ones too?",
    )


def _sample(access: CacheContext, samples: int) -> _Sample:
    """Take a sample, each node and database having its share of it."""
    settings = access.settings
    scope = Scope(Mode.DRY_RUN, settings.match, settings.databases, outside=False)
    taken, fields = _Sample(), FieldReader.of(settings.fields)
    # The smaller ones first, so that what they cannot fill is left to the larger ones.
    held_by = discover(access.cache.addresses, access.connect).names_of
    primaries = sorted(held_by, key=held_by.__getitem__)
    for index, address in enumerate(primaries):
        with access.connect(address) as store:
            store.enable_no_touch()
            held = store.databases()
            scans = scope.scans(sorted(held, key=held.__getitem__))
            left = (samples - len(taken.values)) // (len(primaries) - index)
            for turn, (database, pattern) in enumerate(scans):
                before = len(taken.values)
                if share := -(-left // (len(scans) - turn)):
                    taken.add(
                        database, islice(stored_entries(store, database, pattern, fields), share)
                    )
                left -= len(taken.values) - before
    return taken


def stored_entries(
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


def _with(codec: Codec, found: Found) -> Codec:
    """Return a codec that knows what was found, too."""
    guessed = dict.fromkeys(form for form, _ in found.guesses.values())
    return Codec(codec.keyring, [*codec.formats, *guessed], None, found.labels)


def _reasons(
    codec: Codec, knowing: Codec, values: Mapping[Place, bytes], closed: Mapping[Place, Reason]
) -> dict[Place, Reason]:
    """Return why *closed* ones do not open, looked at more closely by what was found, too."""
    reasons: dict[Place, Reason] = {}
    others = [name for _, name in islice(values, _OTHER_NAMES)]
    for place, reason in closed.items():
        name, value = place[1], values[place]
        if knowing.open(name, value) is Reason.UNKNOWN_KEY_ID:
            reasons[place] = Reason.UNKNOWN_KEY_ID
        elif not looks_encrypted(value):
            reasons[place] = Reason.NOT_A_FORMAT
        elif reason is Reason.BAD_TAG and len(reasons) < _EXPLAINED:
            reasons[place] = codec.explain(name, value, reason, others)
        else:
            reasons[place] = Reason.BAD_TAG
    return reasons


def count_hashes(
    store: Store, patterns: Sequence[str], databases: Collection[int] | Literal["all"]
) -> list[int | None]:
    """Return how many hashes each page of SCAN shows; None: there were more pages than `_LOOKS`."""
    counts: list[int | None] = []
    for db in store.databases():
        store.select(db)
        for pattern in patterns if databases == "all" or db in databases else ():
            cursor = START
            for _ in range(_LOOKS):
                cursor, names = store.page(cursor, pattern, _NAMES_A_LOOK, "TYPE", "hash")
                counts.append(len(names))
                if cursor == START:
                    break
            else:
                counts.append(None)
    return counts
