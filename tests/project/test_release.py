"""What `make release-check` demands of the files of a release; making them takes minutes."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from release import files
from release.files import NotReadyError

ROOT = Path(__file__).parents[2]
HASH = f"--hash=sha256:{'0a' * 32}"
LOCKED = f"# by pip\n--index-url x://y\none==1.0 \\\n    {HASH} \\\n    {HASH}\nTwo.x==2.0 {HASH}\n"
CHANGELOG = "# Changelog\n\n## [Unreleased]\n\n## [1.0.0] - 2026-11-24\n\n### Added\n\n- it\n"
SBOM = {
    "metadata": {
        "component": {"name": "redis-rotator", "version": "1.0.0"},
        "tools": {"components": [{"name": "maker"}]},
    },
    "components": [
        {
            "name": "one",
            "version": "1.0",
            "externalReferences": [
                {"type": "distribution", "url": "https://index/one"},
                {"type": "website", "url": "file:///home/me/one"},
                {"type": "vcs", "url": "https://forge/one"},
            ],
        },
        {"name": "two-X", "version": "2.0"},
    ],
}


def test_its_name_on_the_index():
    """Where it is said how to install it, it is `redis-rotator`: `rotator` is somebody else's."""
    places = [ROOT / "README.md", ROOT / "CHANGELOG.md"]
    for folder in ("rotator", "scripts/deploy"):
        places += [path for path in (ROOT / folder).rglob("*") if path.suffix != ".pyc"]
    found = [
        name
        for path in places
        if path.is_file()
        for name in re.findall(
            r"(?:pip install|uvx(?: --from)?) '?([\w-]*rotator)\b", path.read_text()
        )
    ]
    assert len(found) > 5
    assert set(found) == {"redis-rotator"}


class TestChangelog:
    """An entry for the version."""

    def test_its_date(self):
        """An entry with a date and at least one point is enough."""
        assert files.changelog_date(CHANGELOG, "1.0.0") == "2026-11-24"

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            (CHANGELOG.replace("1.0.0", "1.0.1"), "no entry for 1.0.0"),
            (CHANGELOG.replace(" - 2026-11-24", ""), "no date"),
            (CHANGELOG.replace("- it", "\n## [0.9.0] - 2026-01-01\n\n- it"), "empty"),
        ],
    )
    def test_what_is_missing(self, text, why):
        """Without an entry, its date or its content it is no release."""
        with pytest.raises(NotReadyError, match=why):
            files.changelog_date(text, "1.0.0")

    def test_ours_is_laid_out_like_that(self):
        """The changelog of this checkout is understood, released or not."""
        version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
        text = (ROOT / "CHANGELOG.md").read_text()
        released = text.replace("## [Unreleased]", f"## [{version}] - 2026-11-24")
        assert files.changelog_date(released, version)


class TestWheel:
    """What is in the wheel."""

    GOOD = (
        *("rotator/py.typed", "rotator/__main__.py", "rotator/docs/commands.md"),
        *("rotator/config/reference.yaml", "rotator/report/reference.yaml"),
        "redis_rotator-1.data/data/share/man/man1/rotator.1",
        "redis_rotator-1.dist-info/licenses/LICENSE",
    )

    def test_the_files_it_needs(self):
        """The package, its types, its tables, the man page and the licence are enough."""
        assert files.check_wheel(self.GOOD) == len(self.GOOD)

    @pytest.mark.parametrize("missing", GOOD)
    def test_what_is_missing(self, missing):
        """Without one of them it is no release."""
        with pytest.raises(NotReadyError, match="lacks"):
            files.check_wheel(one for one in self.GOOD if one != missing)

    @pytest.mark.parametrize(
        "strange", ["tests/test_x.py", "setup.py", "redis_rotator-1.data/data/etc/passwd"]
    )
    def test_what_should_not_be_there(self, strange):
        """Tests and scripts would lie beside other packages."""
        with pytest.raises(NotReadyError, match=strange):
            files.check_wheel([*self.GOOD, strange])


class TestSource:
    """What is in the source package."""

    GOOD = tuple(
        f"redis_rotator-1/{name}"
        for name in ("pyproject.toml", "rotator/__main__.py", files.MAN_PAGE)
    )

    def test_the_files_it_needs(self):
        """What a wheel is made of is enough, and it is in this checkout."""
        assert files.check_source(self.GOOD) == 3
        assert (ROOT / files.MAN_PAGE).is_file()

    @pytest.mark.parametrize("missing", GOOD)
    def test_what_is_missing(self, missing):
        """Without one of them it is no release."""
        with pytest.raises(NotReadyError, match="lacks"):
            files.check_source(one for one in self.GOOD if one != missing)


class TestHashes:
    """The list of pinned packages."""

    def test_it_is_cleaned(self):
        """Options and comments, which name places, are gone; every hash is still there."""
        cleaned = files.clean_requirements(LOCKED)
        assert "x://y" not in cleaned
        assert "#" not in cleaned
        assert cleaned.count(HASH) == 3
        assert files.pins(cleaned) == {"one": "1.0", "two-x": "2.0"}

    @pytest.mark.parametrize(
        ("line", "why"),
        [
            ("three==3.0", "none for three"),
            (f"three>=3.0 {HASH}", "does not pin"),
            (f"three==3.0 {HASH[:-1]}", "none for three"),
            (f"three @ https://index/three.whl {HASH}", "place to download from"),
        ],
    )
    def test_what_is_not_pinned(self, line, why):
        """A package without an exact version and its hash, or from some place, is refused."""
        with pytest.raises(NotReadyError, match=why):
            files.clean_requirements(LOCKED + line + "\n")


class TestSbom:
    """The bill of materials."""

    def test_it_is_cleaned(self):
        """Where a part was fetched from is gone, and who makes it is still there."""
        cleaned = files.clean_sbom(SBOM)
        text = json.dumps(cleaned)
        assert "index" not in text
        assert "file:" not in text
        assert "maker" not in text
        assert "https://forge/one" in text

    def test_it_lists_what_is_pinned(self):
        """Its parts are those of the list of hashes, however their names are written."""
        pinned = {"one": "1.0", "two-x": "2.0"}
        assert files.check_sbom(SBOM, "1.0.0", pinned) == 2

    @pytest.mark.parametrize(
        ("version", "pinned", "why"),
        [
            ("1.0.1", {"one": "1.0", "two-x": "2.0"}, "that of redis-rotator 1.0.0"),
            ("1.0.0", {"one": "1.0"}, "two-x 2.0"),
            ("1.0.0", {"one": "1.1", "two-x": "2.0"}, "one 1"),
            ("1.0.0", {"one": "1.0", "two-x": "2.0", "three": "3"}, "three 3"),
        ],
    )
    def test_what_differs(self, version, pinned, why):
        """Another version, or other parts, are found."""
        with pytest.raises(NotReadyError, match=why):
            files.check_sbom(SBOM, version, pinned)


def test_it_starts():
    """The script itself can be read and asked what it does, without any of its tools."""
    done = subprocess.run(
        [sys.executable, "-c", "from release import __main__ as script; print(script.__doc__)"],
        cwd=ROOT / "scripts",
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Nothing is uploaded" in done.stdout
