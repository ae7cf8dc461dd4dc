"""
What the files of a release have to be like: changelog, wheel, list of hashes, bill of materials.

Everything here looks at text and data only; `make release-check` makes the files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

_HEADING = re.compile(r"^## \[([^\]]+)\](?: - (\d{4}-\d\d-\d\d))?$", re.MULTILINE)
_PIN = re.compile(r"([A-Za-z0-9._-]+)==([^\s;\\]+)")
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}(?=\s|$)")
_OURS = re.compile(
    r"(rotator|redis_rotator-[^/]+\.dist-info)/"
    r"|redis_rotator-[^/]+\.data/data/share/man/man1/rotator\.1$"
)
MAN_PAGE = "scripts/reference/rotator.1"
"""Where the source package has it; pip puts that of a wheel into `share/man` of an environment."""
NEEDED = (
    *("rotator/py.typed", "rotator/__main__.py", "rotator/docs/commands.md"),
    *("rotator/config/reference.yaml", "rotator/report/reference.yaml"),
    *("/share/man/man1/rotator.1", "/licenses/LICENSE"),
)
"""What a wheel has to hold; without the tables `rotator schema` does not work."""
_KEPT_OPTION = "--hash="
_REFERENCES = {"documentation", "issue-tracker", "license", "release-notes", "vcs", "website"}


class NotReadyError(Exception):
    """What keeps this from being a release, in a sentence."""


def changelog_date(text: str, version: str) -> str:
    """
    When *version* was released, by the changelog.

    Raises:
        NotReadyError: It has no entry, or one without a date or without content.
    """
    headings = {found[1]: found for found in _HEADING.finditer(text)}
    if version not in headings:
        raise NotReadyError(
            f"CHANGELOG.md has no entry for {version}: give the unreleased one number and date"
        )
    found = headings[version]
    if not found[2]:
        raise NotReadyError(f"CHANGELOG.md: the entry for {version} has no date")
    if not re.search(r"^- ", text[found.end() :].partition("\n## ")[0], re.MULTILINE):
        raise NotReadyError(f"CHANGELOG.md: the entry for {version} is empty")
    return str(found[2])


def check_wheel(names: Iterable[str]) -> int:
    """
    How many files a wheel with these *names* installs.

    Raises:
        NotReadyError: Something is missing, or something is in it that should not be.
    """
    files = list(names)
    strange = [one for one in files if not _OURS.match(one)]
    if strange:
        raise NotReadyError(f"the wheel holds {strange[0]}")
    for needed in NEEDED:
        if not any(one.endswith(needed) for one in files):
            raise NotReadyError(f"the wheel lacks {needed}")
    return len(files)


def check_source(names: Iterable[str]) -> int:
    """
    How many files a source package with these *names* has.

    Raises:
        NotReadyError: What its wheel is made of is missing.
    """
    files = list(names)
    for needed in ("/pyproject.toml", "/rotator/__main__.py", f"/{MAN_PAGE}"):
        if not any(one.endswith(needed) for one in files):
            raise NotReadyError(f"the source package lacks {needed[1:]}")
    return len(files)


def clean_requirements(text: str) -> str:
    """
    A list of pinned packages without options and comments: those tell where somebody got them.

    Raises:
        NotReadyError: An address is left, or a package has no hash.
    """
    lines = [line for line in text.splitlines() if not _is_setting(line)]
    cleaned = "\n".join(line for line in lines if line.strip()) + "\n"
    if "://" in cleaned or " @ " in cleaned:
        raise NotReadyError("the list of hashes names a place to download from")
    pins(cleaned)
    return cleaned


def pins(text: str) -> dict[str, str]:
    """
    The version of each package in a list of hashes, by the package's plain name.

    Raises:
        NotReadyError: A line pins nothing, or not by a SHA-256.
    """
    found: dict[str, str] = {}
    for requirement in text.replace("\\\n", " ").splitlines():
        pin = _PIN.match(requirement)
        if pin is None:
            raise NotReadyError(f"the list of hashes does not pin {requirement[:60]!r}")
        if not _HASH.search(requirement):
            raise NotReadyError(f"the list of hashes has none for {pin[1]}")
        found[plain(pin[1])] = pin[2]
    return found


def clean_sbom(sbom: dict[str, Any]) -> dict[str, Any]:
    """A bill of materials that says who made each part, and not where this one was fetched."""
    cleaned = dict(sbom)
    metadata = dict(cleaned.get("metadata", {}))
    metadata.pop("tools", None)
    cleaned["metadata"] = metadata
    cleaned["components"] = [_component(one) for one in sbom.get("components", [])]
    return cleaned


def check_sbom(sbom: dict[str, Any], version: str, pinned: dict[str, str]) -> int:
    """
    How many parts a bill of materials lists.

    Raises:
        NotReadyError: It is not that of this version, or its parts are not those that are pinned.
    """
    main = sbom["metadata"]["component"]
    if (main["name"], main["version"]) != ("redis-rotator", version):
        raise NotReadyError(f"the SBOM is that of {main['name']} {main['version']}")
    listed = {plain(one["name"]): one["version"] for one in sbom["components"]}
    differ = sorted(listed.items() ^ pinned.items())
    if differ:
        name, number = differ[0]
        raise NotReadyError(f"the SBOM and the list of hashes differ: {name} {number}")
    return len(listed)


def plain(name: str) -> str:
    """The name of a package as all ways to write it have in common (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _is_setting(line: str) -> bool:
    """Whether a line is a comment or an option, other than a hash."""
    text = line.strip()
    return text.startswith("#") or (text.startswith("-") and not text.startswith(_KEPT_OPTION))


def _component(component: dict[str, Any]) -> dict[str, Any]:
    kept = [
        one
        for one in component.get("externalReferences", [])
        if one["type"] in _REFERENCES and not one["url"].startswith("file:")
    ]
    rest = {name: one for name, one in component.items() if name != "externalReferences"}
    return {**rest, "externalReferences": kept} if kept else rest
