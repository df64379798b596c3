"""A picture as DOT, for Graphviz.

Promises: no text of a plan is taken for DOT's own words or escapes.
"""

from collections.abc import Iterator

from .palette import PAINTS, PLAIN
from .pictures import Edge, Node, Picture

_GREY = "#8b949e"
"""Seen on light paper as on dark."""

# Graphviz reads entities as HTML does
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "&": "&amp;"})


def write_dot(picture: Picture) -> str:
    """Return the picture as a directed graph."""
    return "".join(f"{line}\n" for line in _write_lines(picture))


def _write_lines(picture: Picture) -> Iterator[str]:
    label = _quote(picture.title, *picture.notes)
    yield f"digraph {_quote(picture.title)} {{"
    yield f"    graph [rankdir={'TB' if picture.runs_down else 'LR'}, label={label},"
    yield f'           labelloc=t, bgcolor=transparent, fontcolor="{_GREY}",'
    yield '           fontname="Helvetica"];'
    yield '    node [shape=box, style=filled, fontname="Helvetica", fontsize=11];'
    yield f'    edge [color="{_GREY}", fontcolor="{_GREY}",'
    yield '          fontname="Helvetica", fontsize=10];'
    for index, node in enumerate(picture.nodes):
        yield f"    n{index} [{_write_node(node)}];"
    for edge in picture.edges:
        yield f"    n{edge.before} -> n{edge.after}{_write_style(edge)};"
    yield "}"


def _write_node(node: Node) -> str:
    paint = (PAINTS[node.status] if node.status else PLAIN).light
    style = '"filled,dashed"' if node.may_be_left_out else "filled"
    shape = "hexagon" if node.is_join else "box"
    return (
        f"label={_quote(*node.lines)}, shape={shape}, style={style},"
        f' fillcolor="{paint.fill}", color="{paint.stroke}", fontcolor="{paint.text}"'
    )


def _write_style(edge: Edge) -> str:
    label = [f"label={_quote(edge.label)}"] if edge.label else []
    style = ["style=dashed"] if edge.is_dashed else []
    both = ", ".join([*label, *style])
    return f" [{both}]" if both else ""


def _quote(*lines: str) -> str:
    return '"' + "\\n".join(line.translate(_ESCAPES) for line in lines) + '"'
