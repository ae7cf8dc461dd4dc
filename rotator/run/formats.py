"""
Formats: finds out which of them applications write, before anything is written in one.

A literal of a format is written again as it was read. Where it names the key, unknown to the
configuration, that would put new ciphertext behind the old key's label, and no application could
read it. So nothing is written in a format with literals before a value under the current key was
met in it that rotator has not written itself; unless the format is declared `constant`.

Nor is anything written while the sample shows values with the current key's label, and none of them
opens with it: then the configuration has another key than applications, and what a run wrote they
could not read, whatever is declared.

Met means: by a sample before the run, or by any complete sweep that only read. What was written
first, by rotator, cannot be told from it later, so the state keeps which of the two came first.

What is not rewritten but new, by `set` and `adopt`, has no format of its own. Where the
configuration leaves a choice, it gets the one that most values under the current key are in.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import structlog

from rotator.config.types import Address
from rotator.crypto.codec import Codec, LabelWatch, Opened, Reason
from rotator.crypto.layout import Format
from rotator.errors import ConfigError, ServerError, UnmetFormatError, WrongKeyError
from rotator.run.planner import first_values
from rotator.server.context import CacheContext
from rotator.server.topology import discover
from rotator.state.state import State
from rotator.sweep.results import SweepResult
from rotator.sweep.scope import Scope
from rotator.tally.tally import MET, WRITTEN, Mode

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Canary:
    """
    Canary: guards one cache with encryption on, whose data the *state* knows as *history*.

    Without a state nothing is kept.
    """

    access: CacheContext
    state: State | None
    history: str

    @property
    def codec(self) -> Codec:
        """The codec of the cache."""
        if self.access.codec is None:
            raise ValueError("a cache without encryption is not written to")
        return self.access.codec

    def guard(self, primaries: Sequence[Address]) -> tuple[str, ...]:
        """
        Return the names of the formats that nothing may be written in yet.

        Raises:
            UnmetFormatError: A sample shows that one of them would be written in.
            WrongKeyError: A sample shows that the label of the current key means another one.
            ServerError: A node cannot be read.
        """
        doubtful = {form.name: form for form in self.codec.formats if self._is_doubtful(form)}
        needed: set[str] = set()
        for opened in self._seen(primaries, also=bool(doubtful)):
            current = opened.key is self.codec.keyring.current
            if current and not self._knows(opened.format, WRITTEN):
                self._note(opened.format, MET)
                doubtful.pop(opened.format.name, None)
            if self.codec.needs_rewrite(opened) and not opened.inner:
                needed.add((self.codec.write or opened.format).name)
        unmet = [form for form in doubtful.values() if not form.constant]
        for form in doubtful.values():
            if form.constant:  # before anything is written: a run may be killed
                self._note(form, WRITTEN)
        for form in unmet:
            if form.name in needed:
                raise self._refusal(form)
        names = tuple(form.name for form in unmet)
        self.codec.forbid(names)
        return names

    def require(self, form: Format, primaries: Sequence[Address]) -> None:
        """
        Demand that new values may be written as *form*; raises as `guard` does.

        Raises:
            UnmetFormatError: No application was seen to write so.
            WrongKeyError, ServerError: See `guard`.
        """
        current = self.codec.keyring.current
        looks = self._is_doubtful(form) and not self._knows(form, WRITTEN)
        seen = self._seen(primaries, also=looks)
        if looks and any(one.key is current and one.format == form for one in seen):
            self._note(form, MET)
            return
        if self._is_unmet(form):
            raise self._refusal(form)
        if self._is_doubtful(form):
            self._note(form, WRITTEN)

    def _seen(self, primaries: Sequence[Address], *, also: bool) -> list[Opened]:
        """
        Return what opens of a sample, which is taken if a label may tell of the key, or *also*.

        Raises:
            WrongKeyError, ServerError: See `guard`.
        """
        codec, watch = self.codec, LabelWatch(self.codec)
        opened = []
        if also or codec.labelled:
            for name, value, found in _sample(self.access, codec, primaries):
                watch.see(name, value, found)
                if isinstance(found, Opened):
                    opened.append(replace(found, plaintext=b"", value=b""))
        if error := watch.wrong_key(self.access.cache.field("encryption.keys.current")):
            raise error
        return opened

    def keep(self, sweep: SweepResult) -> str | None:
        """
        Take down what a sweep has met, if it only read, and in which formats values were put.

        Return that a run would be refused, and why, if that was a dry run and this is known.
        """
        tally = sweep.tally
        facts = set(tally.formats)
        if tally.encryptions and self.codec.write is not None:
            facts.add((WRITTEN, self.codec.write.name))
        dry = sweep.scope.mode is Mode.DRY_RUN
        looks = dry and not sweep.not_looked_at
        refusal = self._wrong_key(sweep.topology.primaries) if looks else None
        for form in self.codec.formats:
            if (WRITTEN, form.name) in facts:
                self._note(form, WRITTEN)
            elif (MET, form.name) in facts and sweep.complete and not tally.encryptions:
                self._note(form, MET)
            elif dry and tally.remaining and self._is_unmet(form):
                refusal = refusal or self._refusal(form)
        if refusal is None:
            return None
        log.warning("a run would be refused", reason=str(refusal), hint=refusal.hint)
        return f"a run would be refused: {refusal}; {refusal.hint}"

    def _wrong_key(self, primaries: Sequence[Address]) -> ConfigError | None:
        """Return that the label of the current key means another one, if it does."""
        try:
            self._seen(primaries, also=False)
        except WrongKeyError as error:
            return error
        except ServerError as error:
            log.info("no sample could be taken", error=str(error))
        return None

    def _is_doubtful(self, form: Format) -> bool:
        """Return whether a format has literals, and was not met as applications write it."""
        return form.has_literals and not self._knows(form, MET)

    def _is_unmet(self, form: Format) -> bool:
        """Return whether its literals may name a key, as far as is known and declared."""
        return self._is_doubtful(form) and not form.constant

    def _refusal(self, form: Format) -> UnmetFormatError:
        return UnmetFormatError(form.name, own=self._knows(form, WRITTEN))

    def _knows(self, form: Format, fact: str) -> bool:
        """Return whether *fact* is the first that is known of a format."""
        return self.state is not None and self.state.format_fact(*self._place(form)) == fact

    def _note(self, form: Format, fact: str) -> None:
        """Keep *fact* of a format with literals, unless something is known already."""
        if self.state and form.has_literals and not self.state.format_fact(*self._place(form)):
            self.state.note_format(*self._place(form), fact)

    def _place(self, form: Format) -> tuple[str, str, str]:
        return self.history, self.codec.keyring.current.id, form.description


def format_of_new_values(access: CacheContext) -> Format:
    """
    Return the format for new values: the one to write, the only one, or what the cache has.

    Values under the current key tell that, some of every node. How they are written is learned.

    Raises:
        ConfigError: None is under the current key, or as many are in one format as in another.
        ServerError: A node cannot be read.
    """
    codec = access.codec
    if codec is None:
        raise ValueError("a cache without encryption has no formats")
    found: dict[Format, list[bytes]] = {}
    primaries = discover(access.cache.addresses, access.connect).primaries
    for _, _, opened in _sample(access, codec, primaries):
        if isinstance(opened, Opened) and opened.key is codec.keyring.current:
            found.setdefault(opened.format, []).append(opened.value)
    form = codec.write or (codec.formats[0] if len(codec.formats) == 1 else None)
    if form is None:
        counts = Counter({one: len(values) for one, values in found.items()}).most_common(2)
        if not counts or (len(counts) == 2 and counts[0][1] == counts[1][1]):
            names = " and ".join(sorted(one.name for one, _ in counts))
            seen = f"equally many values are in {names}" if counts else "no value is under it yet"
            raise ConfigError(
                f"rotator.caches.{access.cache.name}.write: it is not known in which format"
                f" applications write with the current key: {seen}",
                hint=f"set it, such as write: {codec.formats[0].name}; `rotator detect` tells",
            )
        form = counts[0][0]
    codec.learn(form, found.get(form, ()))
    return form


def _sample(
    access: CacheContext, codec: Codec, primaries: Sequence[Address]
) -> Iterator[tuple[bytes, bytes, Opened | Reason]]:
    """Yield some values of every node: name, value, what opens it."""
    settings = access.settings
    visited = (settings.match, settings.databases)
    scope = Scope(Mode.DRY_RUN, *visited, outside=False, fields=settings.fields)
    for address in primaries:
        with access.connect(address) as store:
            store.enable_no_touch()
            yield from first_values(store, codec, scope)
