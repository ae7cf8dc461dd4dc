"""What is in the folders cron, systemd and kubernetes of scripts/deploy, read strictly."""

import re
import sys
from datetime import UTC, datetime
from pathlib import Path

import yaml
from cronsim import CronSim

SCRIPTS = Path(__file__).parents[2] / "scripts" / "deploy"
CRONTAB = SCRIPTS / "cron" / "rotator.crontab"
UNITS = sorted((SCRIPTS / "systemd").iterdir())
SERVICE = SCRIPTS / "systemd" / "rotator.service"
TIMER = SCRIPTS / "systemd" / "rotator.timer"
BASE = SCRIPTS / "kubernetes"
MANIFEST = BASE / "cronjob.yaml"

COMMAND = "/opt/rotator/bin/rotator"
STATE = "/var/lib/rotator"
HERE = f"{sys.executable} -m rotator"

# The directives that are used, by the manual page that explains each.
DIRECTIVES = {
    "systemd.unit(5)": "Description Wants After OnFailure WantedBy",
    "systemd.service(5)": "Type ExecStart SuccessExitStatus TimeoutStartSec TimeoutStopSec",
    "systemd.kill(5)": "KillMode",
    "systemd.timer(5)": "OnCalendar RandomizedDelaySec Persistent",
    "systemd.resource-control(5)": "DevicePolicy MemorySwapMax",
    "systemd.exec(5)": """
        User Environment LoadCredential StateDirectory StateDirectoryMode UMask LimitCORE
        CapabilityBoundingSet LockPersonality MemoryDenyWriteExecute NoNewPrivileges PrivateDevices
        PrivateMounts PrivateTmp PrivateUsers ProcSubset ProtectClock ProtectControlGroups
        ProtectHome ProtectHostname ProtectKernelLogs ProtectKernelModules ProtectKernelTunables
        ProtectProc
        ProtectSystem RemoveIPC RestrictAddressFamilies RestrictNamespaces RestrictRealtime
        RestrictSUIDSGID SystemCallArchitectures SystemCallErrorNumber SystemCallFilter
    """,
}
_PAGES = {
    "Unit": ("systemd.unit(5)",),
    "Install": ("systemd.unit(5)",),
    "Timer": ("systemd.timer(5)",),
    "Service": (
        "systemd.service(5)",
        "systemd.kill(5)",
        "systemd.exec(5)",
        "systemd.resource-control(5)",
    ),
}
_REPEATABLE = {"Environment", "LoadCredential", "SystemCallFilter"}


def meanings(path):
    """What the comments of a file say of exit codes: the code, and `alert` or `fine`."""
    found = re.findall(r"^# {5}(\d+) +(alert|fine)\b", path.read_text(), re.MULTILINE)
    codes = {int(code): word for code, word in found}
    assert len(codes) == len(found), "a code is named twice"
    return codes


def codes(path, word):
    """The exit codes that the comments of a file call *word*."""
    return {code for code, said in meanings(path).items() if said == word}


def crontab(text=None):
    """A crontab's variables, and its lines as (schedule, command as the shell gets it)."""
    variables, lines = {}, []
    for line in (text or CRONTAB.read_text()).splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if assignment := re.fullmatch(r"([A-Z_]+)=(.*)", line):
            variables[assignment[1]] = assignment[2]
            continue
        *schedule, command = line.split(maxsplit=5)
        # crontab(5): from an unescaped % on, the rest of the line is the command's stdin.
        assert not re.search(r"(?<!\\)%", command), f"unescaped % in {line!r}"
        lines.append((" ".join(schedule), command.replace(r"\%", "%")))
    return variables, lines


def next_start(schedule):
    """
    When a schedule of cron comes next after noon of 2026-11-24, a Tuesday.

    Raises:
        CronSimError: It is none.
    """
    return next(CronSim(schedule, datetime(2026, 11, 24, 12, tzinfo=UTC)))


def unit(path):
    """A unit file as {section: {directive: [values]}}, with nothing in it that is not known."""
    sections = {}
    for line in path.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        if heading := re.fullmatch(r"\[(\w+)\]", line):
            assert heading[1] in _PAGES, line
            section = heading[1]
            sections[section] = {}
            continue
        directive, _, value = line.partition("=")
        known = {one for page in _PAGES[section] for one in DIRECTIVES[page].split()}
        assert directive in known, f"{path.name}: {line}"
        values = sections[section].setdefault(directive, [])
        assert not values or directive in _REPEATABLE, f"{path.name}: {directive} is there twice"
        values.append(value)
    return sections


def manifests():
    """What the kustomization of Kubernetes is made of, by its kind, as kustomize reads it."""
    kustomization = yaml.safe_load((BASE / "kustomization.yaml").read_text())
    listed = [yaml.safe_load((BASE / one).read_text()) for one in kustomization["resources"]]
    for one in kustomization["configMapGenerator"]:
        data = {name: (BASE / name).read_text() for name in one["files"]}
        metadata = {"name": one["name"], **one["options"]}
        listed.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
    return {one["kind"]: one for one in listed}
