"""
Entry: makes the configuration that opens what was detected, as data and as YAML to paste.

All that YAML might take for something else is quoted. What cannot be known from values is said in
comments: whether a literal is a label that nobody saw another of, and labels that were not met.
"""

import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from rotator.config.schema import BUILT_IN_FORMATS, SAME
from rotator.crypto.codec import label_text
from rotator.crypto.layout import BUILTIN, Format
from rotator.diagnose.detect import Detection
from rotator.server.context import CacheContext

_AMBIGUOUS = {"on", "off", "yes", "no", "y", "n", "true", "false", "null"}
"""Words that YAML takes for something else."""


class _Quoted(str):
    """Quoted: a text that stands in quotes, whatever it is."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """Dumper: writes YAML as `yaml.safe_dump` does, and quotes what is to be quoted."""

    def ignore_aliases(self, _: Any) -> bool:
        """Write everything out."""
        return True


# Parts of a layout and names of formats stand on one line.
_Dumper.add_representer(
    list,
    lambda dumper, items: dumper.represent_sequence(
        "tag:yaml.org,2002:seq", items, flow_style=True
    ),
)
_Dumper.add_representer(
    _Quoted,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style='"'),
)


def as_configured(form: Format) -> dict[str, Any]:
    """Return a format as the configuration describes it."""
    layout = form.layout if isinstance(form.layout, str) else list(form.layout)
    within = {} if form.within is None else {"within": str(form.within)}
    return {"encoding": str(form.encoding), **within, "layout": layout, "aad": form.aad}


def configuration(access: CacheContext, found: Detection) -> dict[str, Any] | None:
    """Return the `rotator` section that opens what was guessed; None: none is needed."""
    if not found.formats:
        return None
    opening = {form.name for form, _ in found.opened}
    configured = access.settings.formats
    known = {*BUILTIN, *configured}  # only a label is missing there
    custom = {form.name: as_configured(form) for form in found.formats if form.name not in known}
    kept = opening if configured == BUILT_IN_FORMATS else configured
    # Ahead of the others: new values get the first format, and applications read this one.
    names = [form.name for form in found.formats]
    names += [name for name in configured if name in kept and name not in names]
    cache: dict[str, Any] = {
        **access.settings.model_dump(include={"fields"}, exclude_defaults=True),
        "formats": names,
    }
    if found.labels:
        cache["labels"] = {key_id: label_text(text) for key_id, text in found.labels.items()}
    write = _written(access, found)
    if write is not None:
        cache["write"] = write
    caches = {access.cache.name: cache}
    return {"rotator": {"formats": custom, "caches": caches} if custom else {"caches": caches}}


def _written(access: CacheContext, found: Detection) -> str | None:
    """
    Return the format to write, where there are several; None: there are not, or it is configured.

    If all values under the current key are in one, applications write that one now. Else each value
    keeps its own: they may be of several applications, and each reads its own.
    """
    hits = found.opened + found.guessed
    if access.settings.write != SAME or len({form.name for form, _ in hits}) < 2:
        return None
    current = access.keyring and access.keyring.current
    written = {form for form, key in hits if key is current}
    one = next(iter(written)) if len(written) == 1 else None
    # Of what is kept only an old value tells.
    return SAME if one is None or one.cutter.kept else one.name


def notes(access: CacheContext, found: Detection) -> Iterator[str]:
    """Yield what the configuration cannot say, and somebody has to know."""
    write = _written(access, found)
    if write == SAME:
        yield (
            "write: each value keeps its format. If all applications write and read one of them,"
            " name that one: then rotator writes all values in it, new ones too."
        )
    elif write is not None:
        yield (
            f"write: all values under the current key are in {write}, so rotator rewrites all"
            " others in it too. If an application cannot read it, write same instead."
        )
    for name, key_id in found.alone.items():
        yield (
            f"{name}: seen under one key only, {key_id}. If fixed text in the layout names the key,"
            " write {label}, or label:<n>, in its place, and give each key its label in labels."
        )
    for name in found.single:
        yield (
            f"{name}: a key was seen in only one or two values. Does the label really name the key?"
            " If it differs from value to value, write {keep}, or keep:<n>, and no labels."
        )
    keyring = access.keyring
    if keyring is None or not any(form.cutter.labelled for form in found.formats):
        return
    for key in keyring.all:
        if key.id not in found.labels:
            must = " A run does not start without it." if key is keyring.current else ""
            yield (
                f'labels: no value under the key {key.id} was seen. Add "{key.id}": and the name'
                f" that applications give it.{must}"
            )


def as_yaml(data: dict[str, Any], remarks: Sequence[str], width: int) -> str:
    """Return a `rotator` section as YAML, with *remarks* as comments below its first line."""
    text = yaml.dump(
        _quoted(data), Dumper=_Dumper, default_flow_style=False, sort_keys=False, width=width
    )
    first, _, rest = text.partition("\n")
    start = "  # "
    lines = [line for remark in remarks for line in textwrap.wrap(remark, width - len(start))]
    return "\n".join([first, *(start + line for line in lines), rest])


def _quoted(data: Any) -> Any:
    """Return *data* with texts in quotes, but for names that are plain words."""
    if isinstance(data, dict):
        return {_quoted(key): _quoted(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_quoted(value) for value in data]
    plain = re.fullmatch(r"[a-z][a-z-]*", data) and data not in _AMBIGUOUS
    return data if plain else _Quoted(data)
