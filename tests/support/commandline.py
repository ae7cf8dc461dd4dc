"""Commands run as a user runs them, here or in a process, and configurations for them."""

import io
import subprocess
import sys
import tarfile

import yaml

from support.processes import carry_out, clean

KEY_A = "0a" * 32
KEY_B = "0b" * 32
KEY_C = "0c" * 32


def run(args, env=None, input=None):  # noqa: A002 - the word of subprocess.run
    """What `rotator *args*` does with *env* and *input*, bytes, on stdin; it prints bytes."""
    return subprocess.CompletedProcess(args, *carry_out(args, env, input or b""))


def run_process(args, env=None, input=None):  # noqa: A002 - the word of subprocess.run
    """The same in a process of its own: for its start, its end, and what it gets of the system."""
    return subprocess.run(
        [sys.executable, "-m", "rotator", *map(str, args)],
        env=clean(env),
        input=input or b"",
        capture_output=True,
        timeout=60,
        check=False,
    )


def cache(addresses, *, name="shared-redis", current=KEY_B, old=(KEY_A,), **more):
    """
    One entry of `caches`; *addresses* is one or a list. What is *more* goes beside `redis`, and
    `username`, `password` and `tls` into it.
    """
    redis = {"addresses": [addresses] if isinstance(addresses, str) else list(addresses)}
    redis |= {field: more.pop(field) for field in ("username", "password", "tls") if field in more}
    keys = {"current": current, "old": list(old)}
    return {"name": name, "type": "redis", "encryption": {"keys": keys}, "redis": redis, **more}


def config_file(path, *caches, **sections):
    """A configuration with these *caches* and other *sections*, written to *path*; its path."""
    path.write_text(yaml.safe_dump({"caches": list(caches), **sections}, sort_keys=False))
    return path


def bundle(path, **members):
    """Write a bundle; a double underscore in a member's name stands for a dot."""
    with tarfile.open(path, "w:gz") as archive:
        for name, text in members.items():
            info = tarfile.TarInfo(name.replace("__", "."))
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return path
