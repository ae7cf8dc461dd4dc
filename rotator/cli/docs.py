"""`rotator demo`, `schema`, `docs`: a rotation on a private server, schemas, documents."""

import json
import os
import pydoc
import re
import sys
from enum import StrEnum
from importlib.resources import files
from typing import Annotated, Any, Literal

import typer
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema
from rich.markdown import Markdown

from rotator.cli import options
from rotator.cli.help import TOPICS, unknown
from rotator.config.schema import CacheConfig, RotatorSection, TlsProfile
from rotator.config.types import Section
from rotator.console import console, print_result, table
from rotator.demo.story import VALUES, run_demo
from rotator.errors import Exit
from rotator.report.fields import Part
from rotator.report.files import described, json_schema
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
  rotator docs
      which documents there are
  rotator docs verdicts
      what a verdict means, and what to do
  rotator docs formats | grep -i -A 3 laravel
      the entry for one application

Exit codes: 0 done; 2 usage: there is no such document.
"""


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
    *,
    topic: Annotated[
        str | None,
        typer.Argument(
            metavar="TOPIC",
            help="The document. Default: list them.",
            autocompletion=lambda incomplete: [one for one in TOPICS if one.startswith(incomplete)],
        ),
    ] = None,
    names_only: bool = options.option(
        "--list", "List the documents, each with the question that it answers.", default=False
    ),
) -> None:
    """
    Show a document: how to rotate, configure, read verdicts, and more.

    On a terminal it is laid out for reading, in a pager if it is long. In a pipe it is Markdown, so
    that commands and configurations can be copied.
    """
    if topic is None or names_only:
        rows = [(one, _question(document(one))) for one in TOPICS]
        print_result(table("topic", "question", rows=rows))
        print_result("`rotator docs TOPIC` shows one")
    elif topic in TOPICS:
        print_document(topic)
    else:
        raise unknown("there is no document on ", topic, "rotator docs", TOPICS)


def document(topic: str) -> str:
    """Return the Markdown of a document, without the lines that mark its generated parts."""
    text = (files("rotator") / "docs" / f"{topic}.md").read_text("utf-8")
    return re.sub(r"^<!--.*-->\n", "", text, flags=re.MULTILINE)


def _question(text: str) -> str:
    """Return the question that a document answers: the line below its title."""
    return text.split("\n", 3)[2].strip("*")


def print_document(topic: str) -> None:
    """Write a document to stdout: on a terminal laid out, in a pager if it is long."""
    text = document(topic)
    if not sys.stdout.isatty():
        print_result(text)
        return
    drawer = console(sys.stdout)
    with drawer.capture() as drawn:
        drawer.print(Markdown(_without_links(text), code_theme="ansi_dark", hyperlinks=False))
    shown = drawn.get()
    if shown.count("\n") < drawer.height:
        sys.stdout.write(shown)
        return
    os.environ.setdefault("LESS", "-FRX")  # colours; git and systemd set the same
    pydoc.pager(shown)


def _without_links(text: str) -> str:
    """Return Markdown that names the topics of linked documents, as a terminal opens none."""
    text = re.sub(r"\[([^]]+)\]\(#[^)]*\)", r"\1", text)
    return re.sub(r"\[([^]]+)\]\(([\w-]+)\.md[^)]*\)", r"\1 (`rotator docs \2`)", text)


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
    described(found, "rotator.config")
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
