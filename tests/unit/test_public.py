"""The public names of the package, and that they are imported only when asked for."""

import subprocess
import sys

import pytest

import rotator
from rotator import errors

# Architecture, 2.5.
ERRORS = (
    "RotatorError",
    "ConfigError",
    "SecretError",
    "SourceError",
    "ServerError",
    "LoginError",
    "RightsError",
    "MissingError",
    "UnopenedError",
    "SelfCheckError",
)


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_public(name):
    """The errors of the public API are those of `rotator.errors`."""
    assert getattr(rotator, name) is getattr(errors, name)
    assert name in rotator.__all__


def test_all_that_is_public_is_there():
    """Every name that `rotator` says is public can be imported, and the docstring says so."""
    assert {"Cache", *ERRORS} <= set(rotator.__all__)
    assert all(getattr(rotator, name) for name in rotator.__all__)
    assert "All else is internal" in rotator.__doc__


def test_what_is_internal_is_not():
    """A name that is not public is no attribute, and neither is one that does not exist."""
    for name in ("StateError", "nothing"):
        with pytest.raises(AttributeError, match=f"no attribute '{name}'"):
            getattr(rotator, name)


def test_importing_the_package_imports_nothing_else():
    """`import rotator` imports neither Redis nor any other module of the package."""
    script = "import sys, rotator; print([one for one in sys.modules if one[:6] in known])"
    script = f"known = ('redis', 'rotato')\n{script}"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "['rotator']\n"
