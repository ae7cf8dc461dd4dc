"""`rotator demo`, `schema`, `docs`: play a rotation on a private server, print what is written."""

import json
from enum import StrEnum
from importlib.resources import files
from typing import Annotated, Any, Literal

import typer
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from rotator.cli import options
from rotator.config.schema import CacheConfig, RotatorSection, TlsProfile
from rotator.config.types import Section
from rotator.console import print_result
from rotator.demo.story import VALUES, run_demo
from rotator.errors import Exit
from rotator.report.fields import Part
from rotator.report.files import json_schema
from rotator.report.model import Report
from rotator.report.receipt.model import Receipt

DEMO_EXAMPLES = """\b
Examples:
  rotator demo
      the whole story in a quarter of a minute
  rotator demo --values 500000
      the same with more to do

Exit codes: 0 all of it worked; 1 something did not; 2 usage; 130 and 143
interrupted.
"""

SCHEMA_EXAMPLES = """\b
Examples:
  rotator schema config
      what may stand in those parts of maverics.yaml that are read
  rotator schema config > maverics.schema.json
      for an editor, which then completes fields and marks what is wrong
  rotator schema report > report.schema.json
      for programs that read what --report and --format json write
  rotator schema receipt
      what the payload of a signed receipt may hold

Exit codes: 0 done; 2 usage.
"""

DOCS_EXAMPLES = """\b
Examples:
  rotator docs formats | less
      how to describe values, with entries to paste for many applications
  rotator docs formats | grep -i laravel
      the entry for one of them

Exit codes: 0 done; 2 usage.
"""


class Topic(StrEnum):
    """Topic: names a document."""

    FORMATS = "formats"
    PERFORMANCE = "performance"
    SERVERS = "servers"
    DEVELOPING = "developing"


class Subject(StrEnum):
    """Subject: says what is described."""

    CONFIG = "config"
    REPORT = "report"
    RECEIPT = "receipt"


def demo_command(
    *,
    values: int = options.option(
        "--values", "How many values to fill the cache with.", min=100, default=VALUES
    ),
) -> Exit:
    """Rotate a cache on a private server, step by step; nothing is left behind."""
    return run_demo(values)


def schema_command(
    subject: Annotated[
        Subject,
        typer.Argument(
            metavar="|".join(Subject),
            help="What to describe: the configuration, reports as JSON, or signed receipts.",
        ),
    ],
) -> None:
    """
    Print the JSON Schema of the configuration, of reports, or of receipts.

    That of the configuration knows the sections that rotator reads and no others, and fields as
    JSON has them: secrets, addresses and durations are text. What passes it may still be wrong:
    `rotator check` says so. That of reports holds for what this version writes; fields may be added
    later.
    """
    kinds: dict[Subject, type[Part]] = {Subject.REPORT: Report, Subject.RECEIPT: Receipt}
    found = json_schema(kinds[subject]) if subject in kinds else config_schema()
    print_result(json.dumps(found, indent=2))


def docs_command(
    topic: Annotated[
        Topic,
        typer.Argument(metavar="|".join(Topic), help="The document."),
    ],
) -> None:
    """
    Print a document: formats, what speed costs, which servers were tested, the code.

    It is Markdown, printed as it is, so that entries can be copied.
    """
    print_result((files("rotator") / "docs" / f"{topic}.md").read_text("utf-8"))


class _Schema(GenerateJsonSchema):
    """Schema: says of sections which fields there are, and of a field only a simple default."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """Return the schema of a section."""
        found, kind = super().model_schema(schema), schema["cls"]
        return found | ({"additionalProperties": False} if getattr(kind, "strict", False) else {})

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Return the schema of a field that may be left out."""
        found = super().default_schema(schema)
        if isinstance(found.get("default"), dict) or not found.get("default", True):
            del found["default"]
        return found


def config_schema() -> dict[str, Any]:
    """Return the JSON Schema of a whole configuration: of what rotator reads, nothing else."""
    kinds: list[tuple[type[Section], Literal["validation"]]] = [
        *((CacheConfig, "validation"), (TlsProfile, "validation"), (RotatorSection, "validation"))
    ]
    _, found = models_json_schema(kinds, by_alias=True, schema_generator=_Schema)
    for become in ("Address", "ReplicaSettings"):  # text and lists are read as these
        del found["$defs"][become]
    cache, profile, ours = ({"$ref": f"#/$defs/{kind.__name__}"} for kind, _ in kinds)
    skipped = {"properties": {"type": {"const": "cluster"}}, "required": ["type"]}
    name = {"properties": {"name": {"type": "string"}}, "required": ["name"]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What rotator reads of maverics.yaml",
        "type": "object",
        "properties": {
            "caches": {
                "type": "array",
                "minItems": 1,
                "items": {"if": skipped, "then": name, "else": cache},
            },
            "tls": {"type": "object", "additionalProperties": profile},
            "rotator": ours,
        },
        "required": ["caches"],
        **found,
    }
