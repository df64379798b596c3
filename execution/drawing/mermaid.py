"""A picture as Mermaid, which GitHub, GitLab and many wikis draw by themselves.

Promises: no text of a plan is taken for Mermaid's own words, nor for HTML.
"""

import json
import re
from collections.abc import Iterator

from .palette import PAINTS
from .pictures import TIMES, Node, Picture

_NOT_PLAIN = re.compile(rf"[^\w .,()/…{TIMES}-]")


def write_mermaid(picture: Picture) -> str:
    """Return the picture as a flow chart."""
    return "".join(f"{line}\n" for line in _write_lines(picture))


def _write_lines(picture: Picture) -> Iterator[str]:
    yield "---"
    yield f"title: {json.dumps(picture.title)}"
    yield "---"
    yield f"flowchart {'TB' if picture.runs_down else 'LR'}"
    for index, node in enumerate(picture.nodes):
        yield f"    {_write_node(index, node)}"
    for edge in picture.edges:
        arrow = "-.->" if edge.is_dashed else "-->"
        label = f"|{_escape(edge.label)}|" if edge.label else ""
        yield f"    n{edge.before} {arrow}{label} n{edge.after}"
    for index, note in enumerate(picture.notes):
        yield f'    note{index}["{_escape(note)}"]'
    yield from _write_styles(picture)


def _write_node(index: int, node: Node) -> str:
    label = "<br/>".join(map(_escape, node.lines))
    opening, closing = ("{{", "}}") if node.is_join else ("[", "]")
    return f'n{index}{opening}"{label}"{closing}'


def _write_styles(picture: Picture) -> Iterator[str]:
    statuses = [node.status for node in picture.nodes]
    for status in sorted({status for status in statuses if status}):
        paint = PAINTS[status].light
        yield (
            f"    classDef {status} fill:{paint.fill},stroke:{paint.stroke},"
            f"color:{paint.text}"
        )
        members = ",".join(
            f"n{i}" for i, other in enumerate(statuses) if other is status
        )
        yield f"    class {members} {status}"
    if optional := [i for i, node in enumerate(picture.nodes) if node.may_be_left_out]:
        yield "    classDef optional stroke-dasharray:5 4"
        yield f"    class {','.join(f'n{i}' for i in optional)} optional"


def _escape(text: str) -> str:
    # Mermaid's own way to write characters: their numbers, between # and ;
    return _NOT_PLAIN.sub(lambda found: f"#{ord(found[0])};", text)
