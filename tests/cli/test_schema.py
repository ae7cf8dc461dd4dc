"""`rotator schema`: JSON Schemas that fit what is read and written."""

import json

import pytest
import yaml
from jsonschema import Draft202012Validator

from rotator.config.load import load
from rotator.errors import ConfigError
from rotator.report.files import json_text
from support.commandline import cache, config_file
from support.documents import DOCUMENTS, blocks
from support.html_pages import report
from support.processes import run_here

NOWHERE = "127.0.0.1:1"


def schema(subject):
    """What `rotator schema` prints, ready to validate with."""
    done = run_here(["schema", subject])
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    Draft202012Validator.check_schema(found)
    return Draft202012Validator(found)


@pytest.fixture(scope="module")
def config():
    """The schema of the configuration."""
    return schema("config")


def settings(**given):
    """A configuration with these settings of its cache."""
    ours = {"caches": {"shared-redis": given}}
    return {"caches": [cache(NOWHERE)], "rotator": ours}


class TestConfig:
    """`rotator schema config`."""

    @pytest.mark.parametrize("part", ["caches", "tls", "rotator"])
    def test_every_example_of_the_documents_fits(self, config, part):
        """Whatever a document shows of a section fits, beside a cache that is complete."""
        shown = [
            yaml.safe_load(one.text)
            for topic in DOCUMENTS
            for one in blocks(topic)
            if one.kind == "yaml"
        ]
        found = [one for one in shown if part in one]
        assert found
        for one in found:
            document = {"caches": [cache(NOWHERE)], part: one[part]}
            if part == "caches":  # a part of one, for the others merge into it
                document["caches"] = [{"type": "redis", **entry} for entry in one[part]]
            assert list(config.iter_errors(document)) == []

    @pytest.mark.parametrize(
        "given",
        [
            {"replicas": ["10.0.0.8:6379"]},
            {"replicas": "announced"},
            {"replicas": {"only": []}},
            {"backups": {"retention": "0s"}},
            {"databases": [0, 3]},
            {"assume": {"rdb": {"is": "none", "reason": "no disk"}}},
            {"assume": {"decommissioned": {"is": ["10.0.0.8:6379"], "reason": "deleted"}}},
            {"addressMap": {"10.0.0.7:6379": "203.0.113.9:7000"}},
        ],
        ids=str,
    )
    def test_what_is_read_fits(self, config, tmp_path, given):
        """What rotator reads as settings of a cache fits."""
        document = settings(**given)
        assert load([config_file(tmp_path / "c.yaml", *document["caches"], **document)])
        assert list(config.iter_errors(document)) == []

    @pytest.mark.parametrize(
        "given",
        [
            {"replica": ["10.0.0.8:6379"]},
            {"replicas": "all"},
            {"replicas": {"some": ["10.0.0.8:6379"]}},
            {"backups": {"retention": 30}},
            {"assume": {"rdb": {"is": "none"}}},
            {"assume": {"rdb": {"is": "all", "reason": "no disk"}}},
            {"address_map": {}},
        ],
        ids=str,
    )
    def test_what_is_refused_does_not_fit(self, config, tmp_path, given):
        """What rotator refuses there does not fit: a field that is unknown, a reason left out."""
        document = settings(**given)
        with pytest.raises(ConfigError):
            load([config_file(tmp_path / "c.yaml", *document["caches"], **document)])
        assert not config.is_valid(document)

    def test_other_sections_and_caches(self, config):
        """Sections, fields and caches that rotator does not read may say what they like."""
        mesh = {"name": "mesh", "type": "cluster", "redis": {"addresses": 1}}
        document = {"caches": [cache(NOWHERE), mesh], "apps": [1], "http": {"tls": None}}
        assert list(config.iter_errors(document)) == []

    def test_secrets_are_text(self, config):
        """A key, a password and an address are described as text, as they stand in the file."""
        defined = config.schema["$defs"]
        redis = defined["Redis"]["properties"]
        assert redis["addresses"]["items"] == {"type": "string"}
        assert redis["password"]["anyOf"][0] == {"type": "string"}
        assert defined["EncryptionKeys"]["properties"]["old"]["items"] == {"type": "string"}
        assert defined["BackupSettings"]["properties"]["retention"]["type"] == "string"


class TestReport:
    """`rotator schema report`."""

    def test_a_report_fits(self):
        """A report as it is written fits, and one without its number does not."""
        written = json.loads(json_text(report()))
        found = schema("report")
        assert list(found.iter_errors(written)) == []
        assert not found.is_valid({name: one for name, one in written.items() if name != "schema"})


def test_receipt():
    """`rotator schema receipt` describes what is signed: the key and the evidence of each cache."""
    required = schema("receipt").schema["required"]
    assert {"schema", "key_id", "verdict", "state", "caches"} <= set(required)


@pytest.mark.parametrize("given", [[], ["caches"], ["config", "report"]])
def test_another_subject(given):
    """What is none of the three is refused with 2."""
    done = run_here(["schema", *given])
    assert (done.returncode, done.stdout) == (2, "")
