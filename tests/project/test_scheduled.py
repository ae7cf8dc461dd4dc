"""The examples for cron, systemd and Kubernetes: true to rotator, and each really run."""

import json
import re
import shlex
import shutil
import subprocess
from datetime import timedelta

import kubernetes_validate
import pytest
import yaml
from cronsim import CronSimError

import rotator
from release.image import CONTAINERFILE
from rotator.errors import Exit
from rotator.text import parse_duration
from support import scheduled
from support.caches import READING, WRITING, Cache, fill, keys_of, user
from support.commandline import run
from support.processes import clean, found
from support.scheduled import BASE, CRONTAB, MANIFEST, SERVICE, TIMER, UNITS

FILES = [CRONTAB, SERVICE, MANIFEST]
ALERT = {Exit.FAILED, Exit.USAGE, Exit.NOT_MOVED, Exit.EMPTY}


class Site:
    """A machine as the examples expect it: configuration, secrets, a user in Redis, a state."""

    def __init__(self, folder, client, address, login):
        self.folder = folder
        self.client = client
        self.cache = Cache(address, keys=2)
        self.etc = folder / "etc"
        self.state = folder / "state"
        self.etc.mkdir()
        (self.state / "reports").mkdir(parents=True)
        config = scheduled.manifests()["ConfigMap"]["data"]["maverics.yaml"]
        config = config.replace("redis-0.internal:6379", address)
        config = config.replace("username: rotator", f"username: {login[0]}")
        (self.etc / "maverics.yaml").write_text(config)
        current, old = self.cache.keys
        secrets = {
            "cache_key_2026_11": current,
            "cache_key_2026_05": old,
            "redis_password": login[1],
        }
        (self.etc / "secrets.yaml").write_text(yaml.safe_dump({"secrets": secrets}))
        fill(client, self.cache, 30)

    def rotated(self):
        """Whether every value is under the current key."""
        return keys_of(self.client, self.cache) == {0: 30}

    def here(self, text):
        """A line of an example with the paths of this machine."""
        for path, real in (
            (scheduled.COMMAND, scheduled.HERE),
            (scheduled.STATE, self.state),
            ("/etc/maverics", self.etc),
            ("/run/secrets/rotator", self.etc),
        ):
            text = text.replace(path, str(real))
        return text


@pytest.fixture
def site(server, redis, tmp_path):
    """Such a machine, with 30 values under the old key."""
    rights = [f"+{command}" for command in (*READING, *WRITING)]
    with user(redis, "~*", *rights) as login:
        yield Site(tmp_path, redis, server.address, login)


class TestCodes:
    """What the comments say of exit codes."""

    @pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
    def test_they_name_every_code_of_a_run(self, path):
        """Each file names every exit code that a run can end with, and no other."""
        assert set(scheduled.meanings(path)) == set(Exit) - {Exit.REQUIRED}

    @pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
    def test_they_agree_on_what_is_worth_an_alert(self, path):
        """All files alert on the same codes: those that somebody has to look at."""
        assert scheduled.codes(path, "alert") == ALERT


class TestCron:
    """scripts/deploy/cron/rotator.crontab."""

    def test_the_schedules_are_what_the_comments_say(self):
        """Every line begins with five valid fields: every night at 2:30, and Mondays at 8."""
        _, [(nightly, _), (weekly, _)] = scheduled.crontab()
        assert scheduled.next_start(nightly).isoformat() == "2026-11-25T02:30:00+00:00"
        assert scheduled.next_start(weekly).isoformat() == "2026-11-30T08:00:00+00:00"

    @pytest.mark.parametrize("wrong", ["30 25 * * *", "30 2 * *", "@nightly", "60 2 * * *"])
    def test_a_wrong_schedule_would_be_found(self, wrong):
        """What is no schedule is not taken for one."""
        with pytest.raises(CronSimError):
            scheduled.next_start(wrong)

    def test_an_unescaped_percent_sign_would_be_found(self):
        """A % that cron would cut the line at does not pass."""
        text = CRONTAB.read_text().replace(r"\%", "%")
        with pytest.raises(AssertionError, match="unescaped %"):
            scheduled.crontab(text)

    def test_the_codes_that_are_fine_are_silent(self):
        """The line prints nothing for those codes that the comments call fine."""
        _, [(_, command), _] = scheduled.crontab()
        silent = re.search(r"case \$code in ([\d|]+)\) ;;", command)[1].split("|")
        assert {int(code) for code in silent} == scheduled.codes(CRONTAB, "fine")

    def line(self, site, number=0, change=("", "")):
        """Carry out a line as cron does, after a *change* of its text."""
        variables, lines = scheduled.crontab()
        env = {name: site.here(value) for name, value in variables.items()}
        return subprocess.run(
            [env["SHELL"], "-c", site.here(lines[number][1].replace(*change))],
            env=clean(env),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def test_a_night_without_trouble(self, site):
        """The line rotates, prints nothing that would be mailed, and leaves a report by date."""
        done = self.line(site)
        assert (done.stdout, done.stderr) == ("", "")
        assert site.rotated()
        (report,) = (site.state / "reports").iterdir()
        assert re.fullmatch(r"\d{4}-\d\d-\d\d\.json", report.name)
        assert json.loads(report.read_text())["exit_code"] == 0
        weekly = self.line(site, 1)
        assert weekly.returncode == 0
        assert "shared-redis: complete" in weekly.stdout

    def test_the_window_is_over(self, site):
        """Code 4 is no reason for a mail."""
        done = self.line(site, change=("4h", "0s"))
        assert (done.stdout, done.stderr) == ("", "")
        assert not site.rotated()

    def test_something_is_wrong(self, site):
        """Code 3 is mailed, with the log and the report."""
        site.client.set("foreign", b"not a value of ours")
        done = self.line(site)
        assert done.stdout.startswith("rotator run ended with 3\n")
        assert "undecryptable" in done.stdout
        assert done.stderr == ""


def analyze(*arguments, folder=""):
    """What `systemd-analyze` says, with the units of *folder* before those of the system."""
    return subprocess.run(
        [found("systemd-analyze", "Debian's package systemd, 252 or later"), *arguments],
        env=clean({"SYSTEMD_UNIT_PATH": f"{folder}:"}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class TestSystemd:
    """scripts/deploy/systemd."""

    @pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
    def test_everything_in_it_is_known(self, path):
        """Every section and every directive is one of systemd's manual pages."""
        sections = scheduled.unit(path)
        assert sections["Unit"]["Description"]
        assert sections.keys() & {"Service", "Timer"}

    def test_a_misspelled_directive_would_be_found(self, tmp_path):
        """What no manual page explains does not pass."""
        path = tmp_path / "rotator.service"
        path.write_text(SERVICE.read_text().replace("PrivateTmp", "PrivateTemp"))
        with pytest.raises(AssertionError, match="PrivateTemp"):
            scheduled.unit(path)

    @pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
    def test_systemd_accepts_it(self, path, tmp_path):
        """It finds no fault in the units, together in one folder."""
        rotator = tmp_path / "rotator"
        rotator.write_text("#!/bin/sh\n")
        rotator.chmod(0o755)
        for one in UNITS:
            text = one.read_text().replace(scheduled.COMMAND, str(rotator))
            (tmp_path / one.name).write_text(text)
        done = analyze("verify", "--man=no", tmp_path / path.name, folder=tmp_path)
        assert (done.returncode, done.stdout + done.stderr) == (0, "")

    def test_the_codes_that_are_fine_are_successes(self):
        """A unit fails for those codes that the comments say to alert on, and for no others."""
        (fine,) = scheduled.unit(SERVICE)["Service"]["SuccessExitStatus"]
        numbers = {int(word) for word in fine.split() if word.isdigit()}
        assert numbers | {Exit.OK} == scheduled.codes(SERVICE, "fine")

    def test_a_failure_is_told(self):
        """The unit that tells of failures is the one in the folder."""
        (told,) = scheduled.unit(SERVICE)["Unit"]["OnFailure"]
        assert told == "rotator-failed@%n.service"
        assert "rotator-failed@.service" in {path.name for path in UNITS}

    def test_it_is_shut_in(self):
        """It can gain no rights, write to its state only, and dump no core."""
        service = scheduled.unit(SERVICE)["Service"]
        wanted = {
            "CapabilityBoundingSet": "",
            "LimitCORE": "0",
            "NoNewPrivileges": "yes",
            "PrivateTmp": "yes",
            "ProtectSystem": "strict",
            "ProtectHome": "yes",
            "StateDirectory": "rotator",
            "User": "rotator",
        }
        assert {name: service[name] for name in wanted} == {
            name: [value] for name, value in wanted.items()
        }

    def test_systemd_finds_it_well_shut_in(self):
        """It sees little that is left open: 2 of 10."""
        done = analyze("security", "--offline=yes", "--no-pager", "--threshold=20", SERVICE)
        assert done.returncode == 0, done.stdout + done.stderr

    def test_it_stops_by_itself(self):
        """The time it may take at most is longer than that after which it stops by itself."""
        service = scheduled.unit(SERVICE)["Service"]
        window = window_of(shlex.split(service["ExecStart"][0]))
        (longest,) = service["TimeoutStartSec"]
        assert window + timedelta(minutes=15) <= parse_duration(longest) < timedelta(days=1)

    def test_the_timer_starts_it_every_night(self):
        """The timer belongs to the service by its name, and begins when cron would."""
        timer = scheduled.unit(TIMER)
        assert TIMER.stem == SERVICE.stem
        assert timer["Timer"]["OnCalendar"] == ["*-*-* 02:30:00"]
        assert timer["Install"]["WantedBy"] == ["timers.target"]

    def test_its_command_rotates(self, site):
        """The command and the environment of the unit do the job, from its credentials only."""
        service = scheduled.unit(SERVICE)["Service"]
        given = {"%d": str(site.folder / "credentials"), "%S/rotator": str(site.state)}
        (site.folder / "credentials").mkdir()
        for credential in service["LoadCredential"]:
            name, _, path = credential.partition(":")
            shutil.copy(site.here(path), site.folder / "credentials" / name)
        env = {"STATE_DIRECTORY": str(site.state)}
        for assignment in service["Environment"]:
            name, _, value = assignment.partition("=")
            for specifier, meaning in given.items():
                value = value.replace(specifier, meaning)
            env[name] = value
        shutil.rmtree(site.etc)
        program, *arguments = shlex.split(service["ExecStart"][0])
        assert program == scheduled.COMMAND
        arguments = [word.replace("${STATE_DIRECTORY}", str(site.state)) for word in arguments]
        done = run(arguments, env=env)
        assert done.returncode == 0, done.stderr.decode()
        assert site.rotated()
        assert json.loads((site.state / "last.json").read_text())["exit_code"] == 0
        assert (site.state / "state.db").exists()


def window_of(words):
    """What --max-duration is in a command line."""
    text = " ".join(words).replace("=", " ").split()
    return parse_duration(text[text.index("--max-duration") + 1])


class TestKubernetes:
    """scripts/deploy/kubernetes."""

    @pytest.fixture
    def documents(self):
        """The documents, by kind."""
        return scheduled.manifests()

    @pytest.fixture
    def job(self, documents):
        """The job that the CronJob makes."""
        return documents["CronJob"]["spec"]["jobTemplate"]["spec"]

    @pytest.fixture
    def pod(self, job):
        """Its pod."""
        return job["template"]["spec"]

    @pytest.fixture
    def container(self, pod):
        """Its only container."""
        (container,) = pod["containers"]
        return container

    @pytest.mark.parametrize("version", ["1.31", kubernetes_validate.latest_version()])
    def test_it_fits_the_schema(self, documents, version):
        """Every document is valid by the strict schemas of Kubernetes, old and new."""
        assert documents.keys() == {
            *("ConfigMap", "PersistentVolumeClaim", "CronJob", "NetworkPolicy", "ServiceAccount")
        }
        for document in documents.values():
            kubernetes_validate.validate(document, version, strict=True)

    @pytest.mark.parametrize("place", ["job", "pod", "container"])
    def test_a_misspelled_field_would_be_found(self, request, documents, place):
        """A field that Kubernetes does not know does not pass, however deep it is."""
        request.getfixturevalue(place)["readOnlyRootFileSystem"] = True
        with pytest.raises(kubernetes_validate.ValidationError, match="readOnlyRootFileSystem"):
            kubernetes_validate.validate(documents["CronJob"], "1.31", strict=True)

    def test_it_is_shut_in(self, pod, container):
        """It is not root, gains no rights, and can write to its volumes only."""
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC"}
        writable = {mount["name"] for mount in container["volumeMounts"] if "readOnly" not in mount}
        assert writable == {"state", "tmp"}

    def test_every_file_is_part_of_it(self):
        """No file lies in the folder that the kustomization does not name."""
        named = yaml.safe_load((BASE / "kustomization.yaml").read_text())
        files = [one for generator in named["configMapGenerator"] for one in generator["files"]]
        listed = {*named["resources"], *files, "kustomization.yaml"}
        assert listed == {path.name for path in BASE.iterdir()}

    def test_kustomize_makes_the_same_of_it(self, documents, tmp_path):
        """A kustomization above it has its image and configuration, as kubectl makes it."""
        comment = (BASE / "kustomization.yaml").read_text().partition("\n\n")[0]
        example = re.findall(r"^# {5}(\w+: .*)$", comment, re.MULTILINE)
        text = "\n".join(example).replace("../rotator/scripts/deploy/kubernetes", "base")
        shutil.copytree(BASE, tmp_path / "base")
        (tmp_path / "maverics.yaml").write_text("caches: []\n")
        (tmp_path / "kustomization.yaml").write_text(text)
        assert yaml.safe_load(text).keys() == {
            *("resources", "namespace", "images", "configMapGenerator")
        }
        command = (found("kubectl", "the package kubectl of the Kubernetes project"), "kustomize")
        done = subprocess.run((*command, tmp_path), capture_output=True, text=True, check=True)
        made = {one["kind"]: one for one in yaml.safe_load_all(done.stdout)}
        assert made.keys() == documents.keys()
        assert made["ConfigMap"]["data"] == {"maverics.yaml": "caches: []\n"}
        assert "image: registry.example/rotator@sha256:" in done.stdout
        assert {one["metadata"]["namespace"] for one in made.values()} == {"caches"}

    def test_it_is_nobody_in_the_cluster(self, documents, pod):
        """It has a user of its own in the cluster, and neither of them mounts a token."""
        account = documents["ServiceAccount"]
        assert pod["serviceAccountName"] == account["metadata"]["name"]
        assert account["automountServiceAccountToken"] is False

    def test_it_reaches_names_and_caches_only(self, documents, job):
        """Nobody connects to it, and it connects to DNS and to the port of the cache."""
        policy = documents["NetworkPolicy"]["spec"]
        labels = job["template"]["metadata"]["labels"]
        assert policy["podSelector"] == {"matchLabels": labels}
        assert policy["policyTypes"] == ["Ingress", "Egress"]
        assert "ingress" not in policy
        ports = [
            (one["protocol"], one["port"]) for rule in policy["egress"] for one in rule["ports"]
        ]
        (cache,) = yaml.safe_load(documents["ConfigMap"]["data"]["maverics.yaml"])["caches"]
        [address] = cache["redis"]["addresses"]
        assert ports == [("UDP", 53), ("TCP", 53), ("TCP", int(address.rpartition(":")[2]))]

    def test_the_image_is_that_of_this_version(self, container):
        """Its image is the one that the Containerfile's own lines build."""
        assert container["image"] == f"rotator:{rotator.__version__}"
        text = CONTAINERFILE.read_text()
        assert set(re.findall(r"\brotator:[\d.]+", text)) == {container["image"]}

    def test_it_has_bounds(self, container):
        """It asks for what it needs, and cannot take the memory of its neighbours."""
        assert container["resources"]["requests"].keys() >= {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]

    def test_secrets_come_as_files(self, documents, pod, container):
        """No secret is in the file or in the environment: references, and a mounted secret."""
        variables = {one["name"]: one for one in container["env"]}
        assert all(one.keys() == {"name", "value"} for one in variables.values())
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounts.keys() == {volume["name"] for volume in pod["volumes"]}
        provider = variables["MAVERICS_SECRET_PROVIDER"]["value"]
        assert provider == f"secretfile://{mounts['secrets']}/secrets.yaml"
        assert variables["ROTATOR_STATE"]["value"].startswith(mounts["state"])
        (cache,) = yaml.safe_load(documents["ConfigMap"]["data"]["maverics.yaml"])["caches"]
        keys = cache["encryption"]["keys"]
        for value in (keys["current"], *keys["old"], cache["redis"]["password"]):
            assert re.fullmatch(r"<\w+>", value)

    def test_the_volumes_are_there(self, documents, pod):
        """What the pod mounts is what the other documents make."""
        volumes = {volume.pop("name"): volume for volume in pod["volumes"]}
        name = documents["ConfigMap"]["metadata"]["name"]
        assert volumes["config"] == {"configMap": {"name": name}}
        claim = documents["PersistentVolumeClaim"]["metadata"]["name"]
        assert volumes["state"] == {"persistentVolumeClaim": {"claimName": claim}}
        secret = volumes["secrets"]["secret"]
        text = (BASE / "kustomization.yaml").read_text()
        assert f"create secret generic {secret['secretName']} " in text
        assert secret["defaultMode"] & 0o007 == 0

    def test_one_at_a_time_and_no_second_try(self, documents, job, pod):
        """No second job begins beside one, and a failed one waits for the next night."""
        assert documents["CronJob"]["spec"]["concurrencyPolicy"] == "Forbid"
        assert scheduled.next_start(documents["CronJob"]["spec"]["schedule"]).hour == 2
        assert (job["backoffLimit"], pod["restartPolicy"]) == (0, "Never")

    def test_the_deadline_is_later_than_the_window(self, job, container):
        """Kubernetes ends it only when it should have stopped by itself long ago."""
        window = window_of(container["args"])
        spare = timedelta(seconds=job["activeDeadlineSeconds"]) - window
        assert timedelta(minutes=5) <= spare <= timedelta(hours=1)

    def test_the_codes_to_alert_on_fail_the_job(self, job, container):
        """The failure policy names the codes that the comments say to alert on."""
        ignored, failing = job["podFailurePolicy"]["rules"]
        assert ignored["action"] == "Ignore"
        assert ignored["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
        assert failing["action"] == "FailJob"
        assert failing["onExitCodes"] == {
            "containerName": container["name"],
            "operator": "In",
            "values": sorted(scheduled.codes(MANIFEST, "alert")),
        }

    def test_its_command_rotates(self, site, container):
        """The command, arguments and environment of the container do the job."""
        env = {one["name"]: site.here(one["value"]) for one in container["env"]}
        program, *arguments = [*container["command"], *container["args"]]
        assert program == "rotator"
        done = run(arguments, env=env)
        assert done.returncode == 0, done.stderr.decode()
        assert site.rotated()
        assert json.loads(done.stdout)["exit_code"] == 0
        for line in done.stderr.decode().splitlines():
            json.loads(line)
