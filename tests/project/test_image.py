"""The image: what its Containerfile says, and how rotator works as its user."""

import json
import re
import shutil
import subprocess
import sys
import zipfile

from release import image
from release.files import check_wheel
from support.caches import fill
from support.processes import clean

FOUND = image.instructions(image.CONTAINERFILE.read_text())
BUILD, FINAL = image.stages(FOUND)
COPIED = [rest.split() for word, rest in BUILD if word == "COPY"]
LINES = [rest for word, rest in FOUND if word == "RUN"]


def final(name):
    """What one instruction of the image itself says."""
    [found] = [rest for word, rest in FINAL if word == name]
    return found


class TestContainerfile:
    """scripts/deploy/container/Containerfile."""

    def test_it_is_read(self):
        """Comments are left out, long lines are one, and each stage begins with its FROM."""
        text = "# no\nFROM a AS b\nRUN x \\\n    && y\nFROM c\nuser 1:1\n"
        found = image.instructions(text)
        assert found == [("FROM", "a AS b"), ("RUN", "x && y"), ("FROM", "c"), ("USER", "1:1")]
        assert image.stages(found) == [found[:2], found[2:]]

    def test_what_is_installed_has_hashes(self):
        """Each package comes with its hash from a lock, and rotator from this checkout."""
        installs = [one for line in LINES for one in line.split("&&") if "pip install" in one]
        for one in installs:
            lock = re.search(r"--require-hashes -r lock/(\w+)\.txt$", one.strip())
            assert lock or "--no-deps --no-index ../wheels/redis_rotator-*.whl" in one, one
            assert lock is None or f"scripts/lock/{lock[1]}.txt" in COPIED[0]
        assert len(installs) == 3

    def test_it_takes_what_is_there(self):
        """What is copied is in the checkout, by name: nothing that lies about gets into it."""
        for *sources, _ in COPIED:
            for one in sources:
                assert (image.ROOT / one).exists(), one
        assert not {word for word, _ in FOUND} & {"ADD", "VOLUME"}

    def test_nothing_of_the_build_stays(self):
        """The image has the environment and an empty state of the build, and no tool of it."""
        copies = [rest for word, rest in FINAL if word == "COPY"]
        assert [re.sub(r"--chown=\S+ ", "", one) for one in copies] == [
            "--from=build /opt/rotator /opt/rotator",
            "--from=build /state /var/lib/rotator",
        ]
        assert "RUN" not in {word for word, _ in FINAL}
        assert "uninstall --quiet --yes pip" in LINES[-2]

    def test_it_is_a_job_without_rights(self):
        """It starts rotator as a user without rights, and needs no check of its health."""
        assert json.loads(final("ENTRYPOINT")) == ["rotator"]
        assert final("USER") == "65532:65532"
        assert final("HEALTHCHECK") == "NONE"

    def test_it_holds_no_secret(self):
        """Variables are paths and switches, and no argument of the build is one."""
        variables = " ".join(rest for word, rest in FOUND if word == "ENV")
        assert not re.search("key|secret|password|token", variables, re.IGNORECASE)
        assert [rest.partition("=")[0] for word, rest in FOUND if word == "ARG"] == ["PYTHON"]


def test_the_wheel_is_whole(tmp_path):
    """The wheel that is built from nothing but what is copied has every file of the package."""
    source = tmp_path / "source"
    source.mkdir()
    for one in (name for *names, _ in COPIED[1:] for name in names):
        copy = shutil.copytree if (image.ROOT / one).is_dir() else shutil.copy
        (source / one).parent.mkdir(parents=True, exist_ok=True)
        copy(image.ROOT / one, source / one)
    build = ("hatchling", "build", "--target", "wheel", "--directory", tmp_path)
    subprocess.run(
        [sys.executable, "-m", *build], cwd=source, env=clean(), capture_output=True, check=True
    )
    [wheel] = tmp_path.glob("redis_rotator-*.whl")
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()
    check_wheel(names)
    package = image.ROOT / "rotator"
    files = {path for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert {str(path.relative_to(image.ROOT)) for path in files} <= set(names)


USED = """
FROM this-machine AS first
WORKDIR /etc/maverics
COPY {name} maverics.yaml
RUN install -d -o 65532 -g 65532 -m 700 /state
FROM this-machine
COPY --from=first --chown=65532:65532 /etc/maverics /etc/maverics
COPY --from=first --chown=65532:65532 /state /var/lib/rotator
ENV MAVERICS_CONFIG=/etc/maverics/maverics.yaml ROTATOR_STATE=/var/lib/rotator/state.db
USER 65532:65532
WORKDIR /var/lib/rotator
"""


def test_rotator_works_as_that_user(place, redis, tmp_path):
    """
    As a user without rights, with nothing to write to but its state, it does the job.

    Where layers cannot be made the same is done as the user of the tests.
    """
    fill(redis, place.cache, 10)
    rotator = f"{sys.executable} -m rotator run --format json"
    if image.allowed():
        layers = tmp_path / "layers"
        layers.mkdir()
        said = "id -u >&2; touch /tmp/x 2>/dev/null && exit 9; "
        reachable = (sys.prefix, str(image.ROOT))
        text = image.script(
            USED.format(name=place.file.name), place.file.parent, said + rotator, layers, reachable
        )
        command, env = (*image.APART, "sh", "-euc", text), None
    else:
        command = ("sh", "-c", rotator)
        env = {"MAVERICS_CONFIG": str(place.file), "ROTATOR_STATE": str(place.state)}
    done = subprocess.run(command, env=clean(env), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["caches"][0]["outcomes"]["rotated"] == 10
    if image.allowed():
        assert done.stderr.startswith("65532\n")
        assert not place.state.exists()
