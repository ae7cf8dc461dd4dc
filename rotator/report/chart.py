"""
Drain curve: draws expiries as SVG, static, without script, in the colours of its page.

pygal draws it, without any style of its own: what it looks like is said by the page's style sheet,
so that it follows light, dark and print. pygal comes with the extra `html`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from types import ModuleType
from xml.etree import ElementTree as ET

from rotator.errors import ConfigError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOURS = (1, 2, 3, 6, 12)
_DAYS = (1, 2, 4, 7, 14)
_STEPS = tuple(timedelta(hours=n) for n in _HOURS) + tuple(timedelta(days=n) for n in _DAYS)
_MONTHS = (1, 2, 3, 6, 12, 24, 60, 120, 600, 1_200, 6_000, 12_000, 24_000, 36_000)
_HOUR = timedelta(hours=1)
_UNSEEN = {"titles", "overlay", "text-overlay", "tooltip-overlay"}
_FONT = 13  # pixels; the style sheet has the same


@dataclass(frozen=True, slots=True)
class Curve:
    """
    Curve: says how many values remain at each time; each number holds until the next point.

    *title* and *description* are for those who cannot see it.
    """

    points: Sequence[tuple[datetime, int]]
    title: str
    description: str


def require_library() -> ModuleType:
    """
    Return the library that draws, which few users install.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import_module("pygal.style")
        # lxml, where it is installed, makes elements that the standard library does not take.
        import_module("pygal.etree").etree.to_etree()
        return import_module("pygal")
    except ModuleNotFoundError:
        raise ConfigError(
            "an HTML page needs pygal, which is not installed",
            hint="pip install 'redis-rotator[html]'",
        ) from None


def draw(curve: Curve, ident: str, *, width: int, height: int) -> str:
    """
    Return the picture as an `svg` element.

    *ident* begins every id in it, so that a page can hold many.

    Raises:
        ConfigError: The library for it is not installed.
    """
    pygal = require_library()
    first, last = curve.points[0][0], curve.points[-1][0]
    most = max(number for _, number in curve.points)
    line = [((at - first) / _HOUR, number) for at, number in _stairs(curve.points)]
    chart = pygal.XY(
        width=width,
        height=height,
        margin=4,
        margin_right=24,  # half of the last label under the axis
        style=pygal.style.Style(label_font_size=_FONT, major_label_font_size=_FONT),
        css=(),
        js=(),
        no_prefix=True,
        show_legend=False,
        show_dots=False,
        range=(0, most or 1),
        y_labels=[{"value": number, "label": f"{number:,}"} for number in _round_numbers(most)],
        x_labels=[
            {"value": (at - first) / _HOUR, "label": label}
            for at, label in _round_times(first, last, width // 110)
        ],
    )
    # pygal's own fill ends below the zero line; the style sheet fills this one.
    chart.add("", [*line, (line[-1][0], 0), (0, 0)])
    chart.add("", line)
    return _only_the_picture(chart.render_tree(), curve, ident)


def _only_the_picture(root: ET.Element, curve: Curve, ident: str) -> str:
    """Return the drawing with its words, without script, style and what only a pointer reaches."""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag not in {"g", "path", "text"} or _UNSEEN & {
                *child.get("class", "").split()
            }:
                parent.remove(child)
    size = root.get("viewBox", "")
    root.attrib.clear()
    root.attrib |= {
        "viewBox": size,
        "role": "img",
        "aria-labelledby": f"{ident}-title {ident}-description",
    }
    for tag, words in (("desc", curve.description), ("title", curve.title)):
        element = ET.Element(tag, {"id": f"{ident}-{'title' if tag == 'title' else 'description'}"})
        element.text = words
        root.insert(0, element)
    return ET.tostring(root, encoding="unicode")


def _stairs(points: Sequence[tuple[datetime, int]]) -> Iterator[tuple[datetime, int]]:
    """Yield the points with the corners between them."""
    number = points[0][1]
    for at, after in points:
        yield at, number
        yield at, after
        number = after


def _round_numbers(most: int) -> list[int]:
    """Return a few round numbers from 0 to *most*, for the axis."""
    step = 1
    while most / step > 4:
        step = step * 5 // 2 if str(step).startswith("2") else step * 2
    return list(range(0, most + 1, step)) or [0]


def _round_times(first: datetime, last: datetime, most: int) -> list[tuple[datetime, str]]:
    """Return about *most* round times between the two, at least one, each as it is written."""
    step = next((one for one in _STEPS if (last - first) / one <= most), None)
    if step is None:
        return list(_months(first, last, most))
    numbers = range(-((_EPOCH - first) // step), (last - _EPOCH) // step + 1)
    times = [_EPOCH + number * step for number in numbers]
    written = [(at, f"{at:%H:%M}" if at.hour else f"{at.day} {at:%b}") for at in times]
    return written or [(first, f"{first:%H:%M}")]


def _months(first: datetime, last: datetime, most: int) -> Iterator[tuple[datetime, str]]:
    """Yield the same where days are too short: the beginnings of months or of years."""
    begin, end = (at.year * 12 + at.month - 1 for at in (first, last))
    step = next(one for one in _MONTHS if (end - begin) / one <= most)
    for month in range((begin // step + 1) * step, end + 1, step):
        at = datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC)
        yield at, f"{at:%Y}" if step >= 12 else f"{at:%b %Y}"
