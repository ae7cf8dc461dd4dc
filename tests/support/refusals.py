"""What a configuration that is refused must say, and must not show."""

import pytest

from rotator.errors import ConfigError

SECRET = "hunter2PLANTED"


def refused(action, *words):
    """The error of *action*: it says every one of *words*, has a hint and shows no secret."""
    with pytest.raises(ConfigError) as caught:
        action()
    error = caught.value
    for word in words:
        assert word in str(error)
    assert error.hint
    assert error.__suppress_context__ or error.__context__ is None
    for text in (str(error), error.hint, repr(error)):
        assert SECRET not in text
    return error
