"""
Formats: finds out which of them applications write, before anything is written in one.

A literal of a format is written again as it was read. Where it names the key, unknown to the
configuration, that would put new ciphertext behind the old key's label, and no application could
read it. So nothing is written in a format with literals before a value under the current key was
met in it that rotator has not written itself; unless the format is declared `constant`.

Met means: by a sample before the run, or by any complete sweep that only read. What was written
first, by rotator, cannot be told from it later, so the state keeps which of the two came first.

What is not rewritten but new, by `set` and `adopt`, has no format of its own. Where the
configuration leaves a choice, it gets the one that most values under the current key are in.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import structlog

from rotator.config.types import Address
from rotator.crypto.codec import Codec, Opened
from rotator.crypto.layout import Format
from rotator.errors import ConfigError, UnmetFormatError
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
            ServerError: A node cannot be read.
        """
        doubtful = {form.name: form for form in self.codec.formats if self._is_doubtful(form)}
        needed: set[str] = set()
        for opened in _sample(self.access, self.codec, primaries) if doubtful else ():
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
            ServerError: A node cannot be read.
        """
        current = self.codec.keyring.current
        if self._is_doubtful(form) and not self._knows(form, WRITTEN):
            for opened in _sample(self.access, self.codec, primaries):
                if opened.key is current and opened.format == form:
                    self._note(form, MET)
                    return
        if self._is_unmet(form):
            raise self._refusal(form)
        if self._is_doubtful(form):
            self._note(form, WRITTEN)

    def keep(self, sweep: SweepResult) -> None:
        """Take down what a sweep has met, if it only read, and in which formats values were put."""
        tally = sweep.tally
        facts = set(tally.formats)
        if tally.encryptions and self.codec.write is not None:
            facts.add((WRITTEN, self.codec.write.name))
        for form in self.codec.formats:
            if (WRITTEN, form.name) in facts:
                self._note(form, WRITTEN)
            elif (MET, form.name) in facts and sweep.complete and not tally.encryptions:
                self._note(form, MET)
            elif sweep.scope.mode is Mode.DRY_RUN and tally.remaining and self._is_unmet(form):
                error = self._refusal(form)
                log.warning("a run would be refused", reason=str(error), hint=error.hint)

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
    for opened in _sample(access, codec, primaries):
        if opened.key is codec.keyring.current:
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


def _sample(access: CacheContext, codec: Codec, primaries: Sequence[Address]) -> Iterator[Opened]:
    """Yield some values of every node that open."""
    settings = access.settings
    visited = (settings.match, settings.databases)
    scope = Scope(Mode.DRY_RUN, *visited, outside=False, fields=settings.fields)
    for address in primaries:
        with access.connect(address) as store:
            store.enable_no_touch()
            for _, _, opened in first_values(store, codec, scope):
                yield opened
