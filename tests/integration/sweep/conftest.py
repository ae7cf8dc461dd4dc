"""Fixtures of the tests of sweeps."""

import pytest

from rotator.sweep import division


@pytest.fixture
def cursors(monkeypatch):
    """As many cursors a part as with many names."""
    monkeypatch.setattr(division, "_NAMES_A_CURSOR", 50)
