"""A clock that is wrong: what the modules of rotator take for the time of day, and nobody else."""

import sys
from datetime import datetime, timedelta


class Jumping:
    """
    The time of day for rotator's modules, off by *by*, which may change at any moment.

    *patch* is pytest's monkeypatch. Clocks that nobody can set go on as they are.
    """

    def __init__(self, patch) -> None:
        self.by = timedelta()
        jumping = self

        class Shifted(datetime):
            """The class datetime, but for what the time is now."""

            @classmethod
            def now(cls, tz=None):
                """The time, as the wrong clock has it."""
                return datetime.now(tz) + jumping.by

            @classmethod
            def fromtimestamp(cls, at, tz=None):
                """A plain datetime."""
                return datetime.fromtimestamp(at, tz)

            @classmethod
            def __get_pydantic_core_schema__(cls, _source, handler):
                """The schema of a plain datetime, for records of the state."""
                return handler(datetime)

        for name, module in list(sys.modules.items()):
            if name.startswith("rotator.") and getattr(module, "datetime", None) is datetime:
                patch.setattr(module, "datetime", Shifted)
