"""Bundles of a configuration, and files that are too large."""

import gzip
import tarfile
from pathlib import Path

import pytest

from rotator.config.files import read
from support.commandline import bundle
from support.refusals import SECRET, refused


class TestBundle:
    """Bundles are read in memory."""

    @pytest.mark.parametrize("name", ["maverics__yaml", "maverics__yml", "./maverics__json"])
    def test_member(self, tmp_path, name):
        """The configuration is found at the root of the bundle, among other files."""
        path = bundle(
            tmp_path / "m.tar.gz",
            **{"signature__jwt": "x", "sub/maverics__yaml": "y", name: '{"caches": []}'},
        )
        assert read(path) == {"caches": []}
        assert list(tmp_path.iterdir()) == [path]

    def test_no_member(self, tmp_path):
        """A bundle without a configuration at its root is refused."""
        path = bundle(tmp_path / "m.tgz", **{"sub/maverics__yaml": SECRET})
        refused(lambda: read(path), "holds no configuration")

    def test_two_members(self, tmp_path):
        """A bundle with two configurations is refused: which one counts is not known."""
        path = bundle(tmp_path / "m.tar.gz", maverics__yaml=SECRET, maverics__json="{}")
        refused(lambda: read(path), "more than one")

    @pytest.mark.parametrize("other", ["maverics.yaml", "./maverics.yaml", "/a/../maverics.yaml"])
    @pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.SYMTYPE])
    def test_same_member_twice(self, tmp_path, other, kind):
        """So is one with a configuration twice, however its place is spelled, or a link there."""
        path = tmp_path / "m.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            archive.addfile(tarfile.TarInfo("maverics.yaml"))
            info = tarfile.TarInfo(other)
            info.type, info.linkname = kind, "real.yaml"
            archive.addfile(info)
        refused(lambda: read(path), "more than one")

    def test_link_is_not_followed(self, tmp_path):
        """A link with the right name is not a configuration."""
        path = tmp_path / "m.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            info = tarfile.TarInfo("maverics.yaml")
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(info)
        refused(lambda: read(path), "holds no configuration")

    def test_too_large(self, tmp_path):
        """A member that unpacks to more than a configuration could need is not read."""
        path = bundle(tmp_path / "m.tar.gz", maverics__yaml="#" * ((16 << 20) + 1))
        refused(lambda: read(path), "m.tar.gz/maverics.yaml: is too large")

    def test_bundle_too_large(self, tmp_path, monkeypatch):
        """Nor is a bundle whose members together unpack to more than fits into memory."""
        monkeypatch.setattr("rotator.config.bundle.MAX_BUNDLE_BYTES", 100_000)
        path = bundle(tmp_path / "m.tar.gz", maverics__yaml="{}", logo="x" * 100_000)
        refused(lambda: read(path), "m.tar.gz: is too large")

    def test_endless(self, monkeypatch):
        """Nor is a file without an end."""
        monkeypatch.setattr("rotator.config.bundle.MAX_BUNDLE_BYTES", 17 << 20)
        refused(lambda: read(Path("/dev/zero")), "/dev/zero: is too large")

    @pytest.mark.parametrize("cut", [0, 10, 60])
    def test_broken(self, tmp_path, cut):
        """A bundle that is cut short, or none at all, is refused."""
        path = bundle(tmp_path / "m.tar.gz", maverics__yaml=f"a: {SECRET}")
        path.write_bytes(path.read_bytes()[:cut])
        refused(lambda: read(path), str(path))
        path.write_text(SECRET)
        refused(lambda: read(path), "not a readable bundle")
        path.write_bytes(gzip.compress(SECRET.encode() * 100))
        refused(lambda: read(path), "not a readable bundle")

    def test_error_names_bundle_and_member(self, tmp_path):
        """A fault inside is placed by bundle, member, line and column."""
        path = bundle(tmp_path / "m.tar.gz", maverics__yml=f"a:\n- [{SECRET}")
        refused(lambda: read(path), "m.tar.gz/maverics.yml: line 2")
