"""A picture as SVG, laid out here: no other program is needed to see it.

Promises: well-formed XML whatever the texts hold, without scripts; colours for light
and dark paper, by what the reader prefers; every text that is cut is whole in a hint.
"""

import re
import unicodedata
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence

from ..states import StepStatus
from .layout import Box, Layout, Point, lay_out
from .palette import PAINTS, PLAIN, Colours
from .pictures import Node, Picture

_FONTS = "'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', sans-serif"
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MOST_CHARACTERS = 36
_CHARACTER, _LINE = 7.2, 16.0
_PADDING, _MARGIN, _HEAD = 12.0, 24.0, 32.0
_STACKED = 4.0

_STYLE_ONCE = """
text { font-size: 12px; text-anchor: middle; }
.name { font-weight: 700; }
.title { font-size: 16px; font-weight: 700; text-anchor: start; }
.note { text-anchor: start; }
.label { font-size: 10px; }
.edge { fill: none; stroke-width: 1.3; }
.optional { stroke-dasharray: 5 4; }
"""


def write_svg(picture: Picture) -> str:
    """Return the picture as an SVG document."""
    layout = lay_out(picture, [_measure(node) for node in picture.nodes])
    below = _LINE * len(picture.notes) + (_PADDING if picture.notes else 0)
    lines = (picture.title, *picture.notes)
    width = max(layout.width, *(_write_width(line) * 1.3 for line in lines))
    root = _open_page(
        picture,
        width + 2 * _MARGIN + _STACKED,
        layout.height + _HEAD + below + 2 * _MARGIN + _STACKED,
    )
    _add_text(root, (_MARGIN, _MARGIN + 12), picture.title, "title")
    drawn = ET.SubElement(
        root, "g", transform=f"translate({_MARGIN:g} {_MARGIN + _HEAD:g})"
    )
    for edge, points in zip(picture.edges, layout.routes, strict=True):
        optional = " optional" if edge.is_dashed else ""
        path = _write_path(points, layout)
        ET.SubElement(
            drawn,
            "path",
            {"class": f"edge{optional}", "d": path, "marker-end": "url(#tip)"},
        )
        if edge.label:
            _add_text(drawn, _find_middle(points), edge.label, "label")
    for node, box in zip(picture.nodes, layout.boxes, strict=True):
        _draw_node(drawn, node, box)
    for index, note in enumerate(picture.notes, 1):
        at = (_MARGIN, _MARGIN + _HEAD + layout.height + _PADDING + _LINE * index)
        _add_text(root, at, note, "note")
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


def _open_page(picture: Picture, width: float, height: float) -> ET.Element:
    size = {"width": f"{width:.0f}", "height": f"{height:.0f}"}
    root = ET.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {size['width']} {size['height']}",
            **size,
            "role": "img",
            "font-family": _FONTS,
        },
    )
    _leaf(root, "title", picture.title)
    _leaf(root, "desc", "Steps of a plan; each arrow points to a step that waits.")
    statuses = sorted({node.status for node in picture.nodes if node.status})
    _leaf(root, "style", _write_style(statuses))
    tip = ET.SubElement(
        ET.SubElement(root, "defs"),
        "marker",
        {
            "id": "tip",
            "viewBox": "0 0 8 8",
            "refX": "8",
            "refY": "4",
            "markerWidth": "7",
            "markerHeight": "7",
            "orient": "auto",
        },
    )
    ET.SubElement(tip, "path", {"class": "tip", "d": "M0 0 L8 4 L0 8 z"})
    # of its own: the page around it may be dark when the reader's choice is light
    ET.SubElement(root, "rect", {"class": "paper", "width": "100%", "height": "100%"})
    return root


def _write_style(statuses: Sequence[StepStatus]) -> str:
    paints = [("node", PLAIN), *((str(s), PAINTS[s]) for s in statuses)]
    light = "".join(_write_rules(name, paint.light) for name, paint in paints)
    dark = "".join(_write_rules(name, paint.dark) for name, paint in paints)
    return (
        f"{_STYLE_ONCE}{light}{_write_paper(PLAIN.light)}"
        "@media (prefers-color-scheme: dark) {\n"
        f"{dark}{_write_paper(PLAIN.dark)}}}\n"
    )


def _write_rules(name: str, colours: Colours) -> str:
    return (
        f".{name} .shape {{ fill: {colours.fill}; stroke: {colours.stroke}; }}\n"
        f".{name} text {{ fill: {colours.text}; }}\n"
    )


def _write_paper(colours: Colours) -> str:
    return (
        f".paper {{ fill: {colours.fill}; }}\n"
        f".title, .note, .label {{ fill: {colours.text}; }}\n"
        f".edge {{ stroke: {colours.stroke}; }}\n"
        f".tip {{ fill: {colours.stroke}; }}\n"
    )


def _measure(node: Node) -> tuple[float, float]:
    widest = max(_write_width(_cut(line)) for line in node.lines)
    return widest + 2 * _PADDING, _LINE * len(node.lines) + _PADDING


def _write_width(text: str) -> float:
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return _CHARACTER * (len(text) + wide)


def _cut(line: str) -> str:
    if len(line) <= _MOST_CHARACTERS:
        return line
    return f"{line[: _MOST_CHARACTERS - 1]}…"


def _draw_node(parent: ET.Element, node: Node, box: Box) -> None:
    kinds = " ".join(filter(None, ("node", node.status)))
    group = ET.SubElement(parent, "g", {"class": kinds})
    _leaf(group, "title", "\n".join(node.lines))
    shape = "shape optional" if node.may_be_left_out else "shape"
    # those that it stands for lie behind it
    shifts = (_STACKED, 0.0) if node.count > 1 else (0.0,)
    for shift in shifts:
        points = " ".join(
            f"{x + shift:.1f},{y + shift:.1f}" for x, y in _list_corners(node, box)
        )
        ET.SubElement(
            group,
            "polygon",
            {"class": shape, "points": points, "stroke-linejoin": "round"},
        )
    middle = box.x + box.width / 2
    for index, line in enumerate(node.lines):
        at = (middle, box.y + _PADDING / 2 + _LINE * index + 12)
        _add_text(group, at, _cut(line), "" if index else "name")


def _list_corners(node: Node, box: Box) -> Iterator[Point]:
    """Yield the corners: of a hexagon for a join, else of a rectangle."""
    left, top = box.x, box.y
    right, bottom = box.x + box.width, box.y + box.height
    if not node.is_join:
        yield from ((left, top), (right, top), (right, bottom), (left, bottom))
        return
    cut, middle = _PADDING * 0.75, (top + bottom) / 2
    yield from ((left, middle), (left + cut, top), (right - cut, top))
    yield from ((right, middle), (right - cut, bottom), (left + cut, bottom))


def _write_path(points: Sequence[Point], layout: Layout) -> str:
    """Return a curve that leaves and meets every layer at a right angle."""
    x, y = points[0]
    path = f"M{x:.1f} {y:.1f}"
    for next_x, next_y in points[1:]:
        if layout.runs_down:
            middle = (y + next_y) / 2
            first, second = (x, middle), (next_x, middle)
        else:
            middle = (x + next_x) / 2
            first, second = (middle, y), (middle, next_y)
        path += f" C{first[0]:.1f} {first[1]:.1f} {second[0]:.1f} {second[1]:.1f}"
        path += f" {next_x:.1f} {next_y:.1f}"
        x, y = next_x, next_y
    return path


def _find_middle(points: Sequence[Point]) -> Point:
    """Return where the last curve of an edge is half way."""
    (x, y), (last_x, last_y) = points[-2:]
    return (x + last_x) / 2, (y + last_y) / 2


def _add_text(parent: ET.Element, at: Point, words: str, kind: str) -> None:
    place = {"x": f"{at[0]:.1f}", "y": f"{at[1]:.1f}"}
    _leaf(parent, "text", words, place | ({"class": kind} if kind else {}))


def _leaf(
    parent: ET.Element, tag: str, words: str, style: dict[str, str] | None = None
) -> None:
    # ElementTree escapes markup, but lets through what no XML document may hold
    ET.SubElement(parent, tag, style or {}).text = _NOT_XML.sub("\ufffd", words)
