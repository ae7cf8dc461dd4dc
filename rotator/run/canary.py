"""
Canary: tells in which formats an application was seen to write under the current key.

A literal of a format is written again as it was read. Where it names the key, unknown to the
configuration, that would put new ciphertext behind the old key's label, and no application could
read it. So nothing is written in a format with literals before a value under the current key was
met in it that rotator has not written itself; unless the format is declared `constant`.

Met means: by a sample before the run, or by any complete sweep that only read. What was written
first, by rotator, cannot be told from it later, so the state keeps which of the two came first.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import structlog

from rotator.config.types import Address
from rotator.crypto.codec import Codec, Opened
from rotator.crypto.layout import Format
from rotator.errors import UnmetFormatError
from rotator.run.planner import first_values
from rotator.server.context import CacheContext
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
        unmet = {form.name: form for form in self.codec.formats if self._is_unmet(form)}
        needed: set[str] = set()
        for opened in self._sample(primaries) if unmet else ():
            current = opened.key is self.codec.keyring.current
            if current and not self._knows(opened.format, WRITTEN):
                self._note(opened.format, MET)
                unmet.pop(opened.format.name, None)
            if self.codec.needs_rewrite(opened) and not opened.inner:
                needed.add((self.codec.write or opened.format).name)
        if refused := [name for name in unmet if name in needed]:
            raise UnmetFormatError(refused[0])
        self.codec.forbid(unmet.keys())
        return tuple(unmet)

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
                error = UnmetFormatError(form.name)
                log.warning("a run would be refused", reason=str(error), hint=error.hint)

    def _is_unmet(self, form: Format) -> bool:
        """Return whether a format has literals that may name a key, as far as is known."""
        return form.has_literals and not form.constant and not self._knows(form, MET)

    def _knows(self, form: Format, fact: str) -> bool:
        """Return whether *fact* is the first that is known of a format."""
        return self.state is not None and self.state.format_fact(*self._place(form)) == fact

    def _note(self, form: Format, fact: str) -> None:
        """Keep *fact* of a format with literals, unless something is known already."""
        if self.state and form.has_literals and not self.state.format_fact(*self._place(form)):
            self.state.note_format(*self._place(form), fact)

    def _place(self, form: Format) -> tuple[str, str, str]:
        return self.history, self.codec.keyring.current.id, form.description

    def _sample(self, primaries: Sequence[Address]) -> Iterator[Opened]:
        """Yield some values of every node that open."""
        settings = self.access.settings
        scope = Scope(Mode.DRY_RUN, settings.match, settings.databases, outside=False)
        for address in primaries:
            with self.access.connect(address) as store:
                store.enable_no_touch()
                for _, _, opened in first_values(store, self.codec, scope):
                    yield opened
