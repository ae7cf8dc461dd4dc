"""
One file of fields as plain data: YAML, JSON, or a bundle that holds one of them.

- An error gives file, line and column, never an excerpt: the line may hold a secret. For the same
  reason the parser's own text is not used (an undefined alias is a password beginning with `*`).
- Only the sections asked for are built, so a fault of meaning elsewhere in the file does not count.
- A bundle is read in memory; nothing is extracted. Its signature is the Orchestrator's business.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
import zlib
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from rotator.errors import ConfigError

BUNDLED = ("maverics.yaml", "maverics.yml", "maverics.json")
MAX_BYTES = 16 << 20

_MERGE_TAG = "tag:yaml.org,2002:merge"
_FIELD_NAME = re.compile(r"[A-Za-z0-9_][\w.:-]{0,39}", re.ASCII)
_QUOTE = "check the indentation; a value that begins with * & ! @ % or { must be quoted"

Document = dict[str, Any]


def read(path: Path, sections: Collection[str] | None = None) -> Document:
    """
    The *sections* (None: all) of one YAML, JSON or `.tar.gz` file.

    Raises:
        ConfigError: The file cannot be read, or see `parse`.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {(error.strerror or 'unknown reason').lower()}",
            hint="give the file with --config FILE, or in MAVERICS_CONFIG",
        ) from None
    return parse(content, str(path), sections)


def parse(content: bytes, origin: str, sections: Collection[str] | None = None) -> Document:
    """
    The same for a file's *content*; the name at the end of *origin* says of which kind it is.

    Raises:
        ConfigError: It is not YAML or JSON, gives a field twice, is not a mapping of fields, or is
            a bundle without a configuration.
    """
    if origin.lower().endswith((".tar.gz", ".tgz")):
        member, content = _from_bundle(content, origin)
        origin = f"{origin}/{member}"
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"{origin}: is not UTF-8 text", hint="save it as UTF-8") from None
    if origin.lower().endswith(".json"):
        return _from_json(text, origin, sections)
    return _from_yaml(text, origin, sections)


def shown(field: str) -> str:
    """A field's name for a message; what does not look like a name may be a secret gone astray."""
    return field if _FIELD_NAME.fullmatch(field) else "(a name not shown)"


def _from_bundle(content: bytes, origin: str) -> tuple[str, bytes]:
    """The name and the content of the configuration in a bundle."""
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as bundle:
            found = {
                name: member
                for member in bundle
                if (name := str(PurePosixPath(member.name))) in BUNDLED and member.isreg()
            }
            if len(found) != 1:
                raise ConfigError(
                    f"{origin}: holds {'more than one' if found else 'no'} configuration",
                    hint=f"a bundle has one of {', '.join(BUNDLED)} at its root",
                )
            (name, member), *_ = found.items()
            if member.size > MAX_BYTES or (file := bundle.extractfile(member)) is None:
                raise ConfigError(
                    f"{origin}/{name}: is too large", hint="a configuration has at most 16 MiB"
                )
            return name, file.read()
    except (tarfile.TarError, zlib.error, EOFError, OSError):
        raise ConfigError(
            f"{origin}: is not a readable bundle", hint="a bundle is a tar archive, gzipped"
        ) from None


def _from_json(text: str, origin: str, sections: Collection[str] | None) -> Document:
    """The *sections* of a JSON *text*."""

    def no_field_twice(pairs: list[tuple[str, Any]]) -> Document:
        fields: Document = {}
        for name, value in pairs:
            if name in fields:
                raise ConfigError(
                    f"{origin}: the field {shown(name)} is given twice in one object",
                    hint="keep one of them",
                )
            fields[name] = value
        return fields

    try:
        root = json.loads(text, object_pairs_hook=no_field_twice) if text.strip() else {}
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{origin}: line {error.lineno}, column {error.colno}: is not JSON",
            hint="check commas, quotes and brackets there",
        ) from None
    except (RecursionError, ValueError):
        raise _unusable(origin) from None
    if not isinstance(root, dict):
        raise _no_mapping(origin)
    return {name: value for name, value in root.items() if sections is None or name in sections}


class _TwiceError(yaml.MarkedYAMLError):
    """A field is given twice in one mapping."""


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a field given twice and knows the place of every error."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """The next mapping, if it gives each of its fields once."""
        # Here, not in construct_mapping: there `<<` has already put its fields among the others.
        node = super().compose_mapping_node(anchor)
        seen = set()
        for name, _ in node.value:
            if not isinstance(name, yaml.ScalarNode) or name.tag == _MERGE_TAG:
                continue
            if name.value in seen:
                raise _TwiceError(problem_mark=name.start_mark)
            seen.add(name.value)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """What *node* stands for."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError):  # an impossible date, `!!bool maybe`
            raise yaml.MarkedYAMLError(problem_mark=node.start_mark) from None

    def sections(self, wanted: Collection[str] | None) -> Document | None:
        """The *wanted* sections, built; None if the document is not a mapping."""
        root = self.get_single_node()
        if root is None:
            return {}
        if not isinstance(root, yaml.MappingNode):
            return None
        self.flatten_mapping(root)
        return {
            name.value: self.construct_object(value, deep=True)
            for name, value in root.value
            if isinstance(name, yaml.ScalarNode) and (wanted is None or name.value in wanted)
        }


def _from_yaml(text: str, origin: str, sections: Collection[str] | None) -> Document:
    """The *sections* of a YAML *text*."""
    try:
        root = _Loader(text).sections(sections)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        if isinstance(error, _TwiceError):
            raise ConfigError(
                f"{origin}: {place}a field is given twice in one mapping", hint="keep one of them"
            ) from None
        raise ConfigError(f"{origin}: {place}cannot be read as YAML", hint=_QUOTE) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(
            f"{origin}: line {line}: holds a character that YAML does not allow",
            hint="remove the control character",
        ) from None
    except RecursionError:
        raise _unusable(origin) from None
    if root is None:
        raise _no_mapping(origin)
    return root


def _no_mapping(origin: str) -> ConfigError:
    """The error for a file that is a list or a scalar."""
    return ConfigError(
        f"{origin}: is not a mapping of sections", hint="its first level is caches, tls, rotator"
    )


def _unusable(origin: str) -> ConfigError:
    """The error for a file that the parser gives up on without a place."""
    return ConfigError(
        f"{origin}: is nested too deeply, or holds a number too long", hint="simplify the file"
    )
