"""A clock that is wrong: what rotator takes for the time of day, and nobody else."""

from datetime import UTC, datetime, timedelta

from rotator import text


class Jumping:
    """
    The time of day for rotator, off by *by*, which may change at any moment.

    *patch* is pytest's monkeypatch. Clocks that nobody can set go on as they are.
    """

    def __init__(self, patch) -> None:
        self.by = timedelta()
        patch.setattr(text, "_now", lambda: datetime.now(UTC) + self.by)
