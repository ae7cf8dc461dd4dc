"""What one server's copies of old values amount to."""

from datetime import UTC, datetime

import pytest

from rotator.retirement.places import Copies
from rotator.state.state import State


class TestAppendOnlyByItsSizes:
    """The append-only file where the server does not count how often it was rewritten."""

    @staticmethod
    def copies(size, base=50, *, run_id="a", **more):
        """What INFO of such a server, once it has rewritten its file, amounts to."""
        fields = {"run_id": run_id, "lagging": {}, "snapshot": False, "snapshot_begun_at": None}
        fields |= {"append_only": True, "rewrites": 1, "rewriting": False, **more}
        return Copies(node="a:1", sizes=(base, size), **fields)

    def test_it_only_grew(self):
        """A file that only grew was not rewritten."""
        assert not self.copies(100).rewritten_since(self.copies(60).aof_baseline)

    @pytest.mark.parametrize(("base", "size"), [(80, 80), (80, 200), (50, 60)])
    def test_it_was_rewritten(self, base, size):
        """Another first size is that of a rewrite, and so is a file that is smaller than it was."""
        assert self.copies(size, base).rewritten_since(self.copies(100).aof_baseline)

    def test_it_was_being_rewritten(self):
        """A rewrite that had begun before does not count, so there is no mark until it is over."""
        mark = self.copies(100, rewriting=True).aof_baseline
        assert mark is None
        assert not self.copies(60, 60).rewritten_since(mark)

    def test_a_mark_is_set_once(self, tmp_path):
        """What a key is compared with stays, and what could not be told at first is told later."""
        first, later = {"run_id": "a", "rewrites": 1}, {"run_id": "a", "rewrites": 2}
        at = datetime(2026, 11, 23, tzinfo=UTC)
        with State(tmp_path / "state.db") as state:
            key = ("shared", "0" * 16, at)
            assert state.aof_baselines(*key) == {}
            state.set_aof_baselines(*key, {"a:1": first, "a:2": None})
            assert state.aof_baselines(*key) == {"a:1": first, "a:2": None}
            state.set_aof_baselines(*key, dict.fromkeys(("a:1", "a:2", "a:3"), later))
            state.set_aof_baselines(*key, {})
            assert state.aof_baselines(*key) == {"a:1": first, "a:2": later, "a:3": later}

    @pytest.mark.parametrize("rewrites", [0, 1])
    def test_another_process(self, rewrites):
        """In a later process any rewrite will do, and the sizes say nothing."""
        later = self.copies(30, 20, run_id="b", rewrites=rewrites)
        assert later.rewritten_since(self.copies(100).aof_baseline) == bool(rewrites)
