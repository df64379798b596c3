"""The diagrams of the pages, drawn: a code host reads Mermaid, the website need not.

Promises: a diagram of states or tables becomes an SVG with every box and every arrow
of it, drawn by what draws plans, without the words on arrows, for which there is no
room; anything else is left as it is. It must not know which page it is on.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from execution.drawing.pictures import Edge, Node, Picture
from execution.drawing.svg import write_svg

_SVG = "http://www.w3.org/2000/svg"
_ARROW = re.compile(r"^ +(\w+) (?:-->|[|}o]{2}--[|{o]{2}) (\w+) ?:", re.MULTILINE)
_KINDS = {"stateDiagram-v2": "States", "erDiagram": "Tables"}


class Arrow(NamedTuple):
    """What leads from one box to another."""

    before: str
    after: str


def draw_diagram(mermaid: str) -> str | None:
    """Return a diagram as SVG, or None if it is of another kind."""
    kind = mermaid.split(maxsplit=1)[0]
    if kind not in _KINDS:
        return None
    arrows = [Arrow(*found) for found in _ARROW.findall(mermaid)]
    # what something leads on from stands above what is an end
    names = list(dict.fromkeys([a.before for a in arrows] + [a.after for a in arrows]))
    edges, tips = _join_arrows(arrows, names)
    nodes = tuple(Node(name, name, ()) for name in names)
    return _turn_tips(write_svg(Picture(_KINDS[kind], nodes, tuple(edges))), tips)


def _join_arrows(
    arrows: Sequence[Arrow], names: Sequence[str]
) -> tuple[list[Edge], list[set[str]]]:
    """Return an edge for each two boxes, none of them upwards, and where its tips are.

    What draws plans knows no way back: an arrow upwards becomes an edge downwards whose
    tip is at its start. One from a box to itself is not drawn.
    """
    depth = {name: index for index, name in enumerate(names)}
    found: dict[tuple[int, int], set[str]] = {}
    for before, after in arrows:
        first, last = sorted((depth[before], depth[after]))
        if first != last:
            tips = found.setdefault((first, last), set())
            tips.add("marker-end" if last == depth[after] else "marker-start")
    return [Edge(first, last) for first, last in found], list(found.values())


def _turn_tips(svg: str, tips: Sequence[set[str]]) -> str:
    ET.register_namespace("", _SVG)
    root = ET.fromstring(svg)  # noqa: S314  # drawn a moment ago
    for marker in root.iter(f"{{{_SVG}}}marker"):
        marker.set("orient", "auto-start-reverse")
    for path, ends in zip(_find_edges(root), tips, strict=True):
        path.attrib.pop("marker-end")
        path.attrib.update(dict.fromkeys(sorted(ends), "url(#tip)"))
    return ET.tostring(root, encoding="unicode")


def _find_edges(root: ET.Element) -> Iterator[ET.Element]:
    return (
        path for path in root.iter(f"{{{_SVG}}}path") if "marker-end" in path.attrib
    )
