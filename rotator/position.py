"""How far the sweep of one node is."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from rotator.server.node import Identity
from rotator.tally.tally import Tally


@dataclass(slots=True)
class Position:
    """
    How far the sweep of one node is; worthless for any other process, keyring, format or scope.

    *done* are the finished scans as (database, pattern); *cursor* belongs to *scanning*, and means
    nothing in any other database.
    """

    digest: str
    identity: Identity
    started_at: datetime
    tally: Tally
    scanning: tuple[int, str | None] | None = None
    cursor: int = 0
    done: list[tuple[int, str | None]] = field(default_factory=list)
    restarts: int = 0
    reasons: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; the cursor is text because it may have 64 bits."""
        return {
            "digest": self.digest,
            "identity": self.identity.to_dict(),
            "started_at": self.started_at.isoformat(),
            "tally": self.tally.to_dict(),
            "scanning": self.scanning and list(self.scanning),
            "cursor": str(self.cursor),
            "done": [list(one) for one in self.done],
            "restarts": self.restarts,
            "reasons": self.reasons,
        }

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Self:
        """The position that `to_dict` wrote down."""
        return cls(
            digest=saved["digest"],
            identity=Identity.from_dict(saved["identity"]),
            started_at=datetime.fromisoformat(saved["started_at"]),
            tally=Tally.from_dict(saved["tally"]),
            scanning=saved["scanning"] and (saved["scanning"][0], saved["scanning"][1]),
            cursor=int(saved["cursor"]),
            done=[(db, pattern) for db, pattern in saved["done"]],
            restarts=saved["restarts"],
            reasons=saved["reasons"],
        )
