"""
The image of `scripts/deploy/container`, made without an engine: this machine is its base.

Each stage is a layer over `/` (overlayfs) that is gone with the process: nothing of this machine is
changed. Its `RUN` lines are carried out as they stand, and what comes out is started as the user of
the image, without any right and with nothing to write to but its state. That takes root, Linux and
minutes, since all packages are installed by their hashes. What it does not show: that the base
image has all that is needed; a build by podman or docker does.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from release.files import NotReadyError

ROOT: Final = Path(__file__).parents[2]
CONTAINERFILE: Final = ROOT / "scripts" / "deploy" / "container" / "Containerfile"
APART: Final = ("unshare", "--mount", "--propagation", "private")

Instruction = tuple[str, str]
"""Its word, such as `RUN`, and what follows it."""

_PRELUDE = """
base={folder}
mount -t tmpfs -o size=2g,mode=755 none "$base"
stage() {
    mkdir "$base/$1-upper" "$base/$1-work" "$base/$1"
    mount -t overlay -o "lowerdir=/,upperdir=$base/$1-upper,workdir=$base/$1-work" none "$base/$1"
    mount --rbind /dev "$base/$1/dev"
    mount -t proc proc "$base/$1/proc"
}
reach() {  # a folder of this machine, wherever it is, to be read by whoever is no root
    mkdir -p "$base/$1$2"
    mount --rbind "$2" "$base/$1$2"
    mount -o remount,bind,ro "$base/$1$2"
    folder=$2
    while folder=$(dirname "$folder") && [ "$folder" != / ]; do chmod o+x "$base/$1$folder"; done
}
"""


def instructions(text: str) -> list[Instruction]:
    """Return the instructions of a Containerfile in their order."""
    plain = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", plain).splitlines()
    parts = (line.split(maxsplit=1) for line in lines if line.strip())
    return [(word.upper(), rest.strip()) for word, rest in parts]


def stages(found: list[Instruction]) -> list[list[Instruction]]:
    """Return the instructions of each stage, beginning with its `FROM`."""
    starts = [number for number, (word, _) in enumerate(found) if word == "FROM"]
    return [found[a:b] for a, b in zip(starts, [*starts[1:], None], strict=True)]


def script(
    text: str, context: Path, command: str, layers: Path, reachable: tuple[str, ...] = ()
) -> str:
    """
    Return the lines of shell that make the image of *text*, and carry out *command* in it.

    Files are taken from the folder *context*; *layers* is an empty one to work in. What is
    *reachable* besides Python are folders of this machine.
    """
    lines = [_PRELUDE.replace("{folder}", shlex.quote(str(layers)))]
    named: dict[str, str] = {}
    for number, stage in enumerate(stages(instructions(text))):
        last = f"s{number}"
        named[stage[0][1].rpartition(" AS ")[2]] = last
        lines.append(f"stage {last}")
        reached = (sys.base_prefix, *reachable)
        lines += [f"reach {last} {shlex.quote(os.path.realpath(one))}" for one in reached]
        user, folder, variables = (
            "0:0",
            "/",
            [f"PATH={sys.base_prefix}/bin:/usr/sbin:/usr/bin:/bin"],
        )
        for word, rest in stage[1:]:
            if word == "WORKDIR":
                folder = rest
                lines.append(f'mkdir -p "$base/{last}{folder}"')
            elif word == "ENV":
                variables += shlex.split(rest)
            elif word == "USER":
                user = rest
            elif word == "COPY":
                lines += _copy(rest, context, named, f"$base/{last}", folder)
            elif word == "RUN":
                lines.append(_start(f"$base/{last}", folder, variables, rest))
    lines += [
        f'mount --bind "$base/{last}{folder}" "$base/{last}{folder}"',
        f'mount -o remount,bind,ro "$base/{last}"',
    ]
    return "\n".join([*lines, _start(f"$base/{last}", folder, variables, command, user)])


def _copy(rest: str, context: Path, named: dict[str, str], root: str, folder: str) -> list[str]:
    """Return the lines of one `COPY`; a folder is copied as what it becomes."""
    words = shlex.split(rest)
    options = dict(word[2:].split("=", 1) for word in words if word.startswith("--"))
    *sources, target = [word for word in words if not word.startswith("--")]
    origin = f"$base/{named[options['from']]}" if "from" in options else str(context)
    place = f"{root}{Path(folder, target)}"
    whole = not target.endswith("/")
    lines = [f'mkdir -p "{Path(place).parent if whole else place}"']
    lines += [f'cp -r{"T" if whole else ""} "{origin}/{one}" "{place}"' for one in sources]
    return lines + ([f'chown -R {options["chown"]} "{place}"'] if "chown" in options else [])


def _start(root: str, folder: str, variables: list[str], command: str, user: str = "0:0") -> str:
    """Return the line that carries out a command in a layer; no right but for root."""
    inner = f"cd {folder} && {command}"
    drop = ""
    if user != "0:0":
        uid, _, gid = user.partition(":")
        drop = f"setpriv --reuid={uid} --regid={gid} --clear-groups --no-new-privs"
        drop += " --bounding-set=-all --inh-caps=-all "
    settings = " ".join(shlex.quote(one) for one in variables)
    where = 'PATH="$PATH:/usr/sbin:/sbin"'  # it is not everywhere on that of a user
    return f'{where} chroot "{root}" {drop}env {settings} sh -euc {shlex.quote(inner)}'


def allowed() -> bool:
    """Return whether this machine lets us make layers."""
    probe = (*APART, "sh", "-c", "mount -t tmpfs none /mnt")
    if os.geteuid() != 0:
        return False
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def make(command: str) -> str:
    """
    Return what *command* prints in the image.

    Raises:
        NotReadyError: A step of it fails.
    """
    with tempfile.TemporaryDirectory(prefix="rotator-image-") as layers:
        text = script(CONTAINERFILE.read_text(), ROOT, command, Path(layers))
        start = (*APART, "sh", "-euc", text)
        done = subprocess.run(start, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotReadyError(" / ".join(done.stderr.strip().splitlines()[-5:]))
    return done.stdout
