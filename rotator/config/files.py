"""
Files: turns YAML, JSON and bundles of one of them into plain data.

- An error gives file, line and column, never an excerpt: the line may hold a secret. For the same
  reason the parser's own text is not used (an undefined alias is a password beginning with `*`).
- Only the sections asked for are built, so a fault of meaning elsewhere in the file does not count.

What YAML means is decided here, since parsers differ in it. The Orchestrator reads its file with
gopkg.in/yaml.v3, so right is what that package's documentation, resolve.go and decode.go say: the
core schema of YAML 1.2.2 (section 10.3), and merge keys.

- A scalar is its text as written, and the field that takes it decides what the text means: 0123,
  1e10, 12:30 and `on` stay what they are. Only plain null, Null, NULL, ~ and nothing are None.
- The tags !!str, !!bool, !!int, !!float, !!null, !!map and !!seq are accepted on what they fit.
- A plain `<<` takes over the fields of a mapping, or of several in a list. A field written out
  wins wherever it stands; of several mappings the earlier wins. A quoted "<<" is a field.
- In the whole file no mapping gives two fields of one text, no anchor contains itself, and aliases
  unfold to at most `MAX_ALIASED` nodes.
- Stricter than yaml.v3: other tags, a second document and a tab after a colon are refused.
"""

import hashlib
import json
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import yaml

from rotator.config.bundle import MAX_BYTES, read_limited, too_large, unpack
from rotator.config.types import shown
from rotator.errors import ConfigError

# yaml.v3 takes 396,000 such nodes in a small file and up to 1,200,000 in one that has a million of
# its own; it takes more only in a file of ten million (`allowedAliasRatio` in decode.go).
MAX_ALIASED = 1_200_000

_NULL, _STR, _MAP, _SEQ, _MERGE = (
    f"tag:yaml.org,2002:{name}" for name in ("null", "str", "map", "seq", "merge")
)
_FORMS = {
    _NULL: re.compile("(?:null|Null|NULL|~)?"),
    _STR: re.compile(r"[^\ud800-\udfff]*"),  # an escape may name half a character
    "tag:yaml.org,2002:bool": re.compile("true|True|TRUE|false|False|FALSE"),
    "tag:yaml.org,2002:int": re.compile("[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"),
    "tag:yaml.org,2002:float": re.compile(
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
    ),
}

_NOT_TEXT = [form for tag, form in _FORMS.items() if tag not in {_NULL, _STR}]
_YAML_1_1 = yaml.resolver.Resolver()

_BROKEN = "cannot be read as YAML"
_QUOTE = "check the indentation; a value that begins with * & ! @ % or { must be quoted"

Document = dict[str, Any]


class Unquoted(str):
    """Unquoted: text that YAML, as others read it, makes a number, a date or a boolean of."""

    __slots__ = ()


def read(
    path: Path, sections: Collection[str] | None = None, digests: dict[Path, str] | None = None
) -> Document:
    """
    Read the *sections* (None: all) of one YAML, JSON or `.tar.gz` file; note its SHA-256.

    Raises:
        ConfigError: The file cannot be read, or see `parse`.
    """
    try:
        content = read_limited(path)
    except OSError as error:
        hint = "give the file with --config FILE, or in MAVERICS_CONFIG"
        if os.pathsep in str(path):
            hint = "that is the name of one file: give several with -c and -c, or in ROTATOR_CONFIG"
        raise ConfigError(
            f"{path}: cannot be read: {(error.strerror or 'unknown reason').lower()}", hint=hint
        ) from None
    if digests is not None:
        digests[path] = hashlib.sha256(content).hexdigest()
    return parse(content, str(path), sections)


def parse(content: bytes, origin: str, sections: Collection[str] | None = None) -> Document:
    """
    Read a file's *content*; the name at the end of *origin* says of which kind it is.

    Raises:
        ConfigError: It is not YAML or JSON, gives a field twice, is not a mapping of fields, or is
            a bundle without a configuration.
    """
    if origin.lower().endswith((".tar.gz", ".tgz")):
        member, content = unpack(content, origin)
        origin = f"{origin}/{member}"
    if len(content) > MAX_BYTES:
        raise too_large(origin)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"{origin}: is not UTF-8 text", hint="save it as UTF-8") from None
    try:
        if origin.lower().endswith(".json"):
            root = _from_json(text, origin)
        else:
            root = _from_yaml(text, origin, sections)
    except (RecursionError, ValueError, OverflowError):  # the last two: an escape, a long number
        raise ConfigError(
            f"{origin}: is nested too deeply, or holds an impossible number or escape",
            hint="simplify the file",
        ) from None
    if not isinstance(root, dict):
        hint = "its top level has caches, tls and rotator"
        raise ConfigError(f"{origin}: is not a mapping of sections", hint=hint)
    return {name: value for name, value in root.items() if sections is None or name in sections}


def _from_json(text: str, origin: str) -> Any:
    """Read a JSON *text*; an empty one has no sections."""

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
    json.dumps(root, ensure_ascii=False).encode()  # a ValueError: an escape names half a character
    return root


class _NodeError(yaml.MarkedYAMLError):
    """Node error: a fault found here; its *problem* and *hint* are ours, and can be shown."""

    def __init__(self, mark: Any, problem: str = _BROKEN, hint: str = _QUOTE) -> None:
        super().__init__(problem=problem, problem_mark=mark, note=hint)


class _Composer(yaml.BaseLoader):
    """Composer: makes nodes of a text, and refuses what would be a fault in any of its sections."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._sizes: dict[yaml.Node | None, int] = {}  # of whole nodes, aliases unfolded
        self._unfolded = self._aliased = 0

    def resolve(self, kind: Any, value: Any, implicit: Any) -> str:  # noqa: ARG002 - PyYAML's
        """Give no tag, where the file gives none."""
        return ""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Return the next node, whole."""
        event, before = self.peek_event(), self._unfolded  # type: ignore[no-untyped-call]
        alias = isinstance(event, yaml.AliasEvent)
        if not alias:
            self.anchors.pop(event.anchor, None)  # the name of an anchor may be used again
        node = super().compose_node(parent, index)
        if not alias:
            self._unfolded += 1
            self._sizes[node] = self._unfolded - before
        elif node not in self._sizes:
            raise _NodeError(event.start_mark, "an anchor contains itself", "write the value out")
        else:
            self._unfolded += self._sizes[node]
            self._aliased += self._sizes[node]
            if self._aliased > MAX_ALIASED:
                raise _NodeError(
                    event.start_mark, "its aliases expand to too much", "use fewer of them"
                )
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Return the next mapping, if it gives each of its fields once."""
        node = super().compose_mapping_node(anchor)
        seen = set()
        for name, _ in node.value:
            if not isinstance(name, yaml.ScalarNode):
                continue
            if name.value in seen:
                problem = "a field is given twice in one mapping"
                raise _NodeError(name.start_mark, problem, "keep one of them")
            seen.add(name.value)
        return node


def _built(node: yaml.Node) -> Any:
    """Return *node* as plain data."""
    if isinstance(node, yaml.MappingNode):
        return {name: _built(value) for name, value in _fields(node).items()}
    if isinstance(node, yaml.SequenceNode):
        _require_tag(node, _SEQ)
        return [_built(item) for item in node.value]
    return _text(node)


def _text(node: Any) -> str | None:
    """Return the text of a scalar as written; None: it is null."""
    null = not node.tag and node.style is None and _FORMS[_NULL].fullmatch(node.value)
    tag = _NULL if null else node.tag or _STR
    if tag not in _FORMS or not _FORMS[tag].fullmatch(node.value):
        raise _NodeError(node.start_mark)
    if tag == _NULL:
        return None
    return Unquoted(node.value) if _is_ambiguous(node) else str(node.value)


def _is_ambiguous(node: Any) -> bool:
    """Return whether a scalar is text here, and a number, a date or a boolean to others."""
    if node.tag or node.style is not None:
        return False
    older = _YAML_1_1.resolve(yaml.ScalarNode, node.value, (True, False))  # type: ignore[no-untyped-call]
    return older != _STR or any(form.fullmatch(node.value) for form in _NOT_TEXT)


def _fields(mapping: yaml.MappingNode) -> dict[str, yaml.Node]:
    """Return the fields of *mapping*, with those that it takes over."""
    _require_tag(mapping, _MAP)
    own: dict[str, yaml.Node] = {}
    merged: dict[str, yaml.Node] = {}
    for name, value in mapping.value:
        if not isinstance(name, yaml.ScalarNode):
            raise _NodeError(name.start_mark)
        if name.value == "<<" and (name.tag == _MERGE or not (name.tag or name.style)):
            for field, inner in _taken_over(name, value):
                merged.setdefault(field, inner)
        else:
            own[_text(name) or name.value] = value
    return merged | own


def _taken_over(name: yaml.ScalarNode, value: yaml.Node) -> Iterator[tuple[str, yaml.Node]]:
    """Yield the fields of the mappings that *value*, given to the merge key *name*, consists of."""
    # An alias stands for a node before it; yaml.v3 takes none that stands for a list.
    listed = isinstance(value, yaml.SequenceNode) and value.start_mark.index > name.start_mark.index
    for source in value.value if listed else [value]:
        if not isinstance(source, yaml.MappingNode):
            raise _NodeError(
                name.start_mark,
                "<< takes a mapping, or a list of mappings",
                "write <<: *name, or <<: [*name, *another]",
            )
        yield from _fields(source).items()


def _require_tag(node: yaml.Node, tag: str) -> None:
    """Refuse a *node* with another tag than *tag*."""
    if node.tag not in {"", tag}:
        raise _NodeError(node.start_mark)


def _from_yaml(text: str, origin: str, sections: Collection[str] | None) -> Document | None:
    """Read the *sections* of a YAML *text*; None if it is not a mapping."""
    try:
        root = _Composer(text).get_single_node()
        if root is None or (isinstance(root, yaml.ScalarNode) and _text(root) is None):
            return {}
        if not isinstance(root, yaml.MappingNode):
            return None
        return {
            name: _built(value)
            for name, value in _fields(root).items()
            if sections is None or name in sections
        }
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        ours = isinstance(error, _NodeError)
        raise ConfigError(
            f"{origin}: {place}{error.problem if ours else _BROKEN}",
            hint=error.note if ours else _QUOTE,
        ) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(
            f"{origin}: line {line}: holds a character that YAML does not allow",
            hint="remove the control character",
        ) from None
