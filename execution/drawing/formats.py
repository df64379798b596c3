"""The door of this package: which formats there are, and how much each can bear.

Promises: a picture that is too large for its format is folded first, and says so.
"""

from dataclasses import dataclass
from enum import StrEnum

from .dot import write_dot
from .folding import fold
from .mermaid import write_mermaid
from .pictures import Picture
from .svg import write_svg


class DrawingFormat(StrEnum):
    """What a picture can be written as."""

    MERMAID = "mermaid"
    DOT = "dot"
    SVG = "svg"


@dataclass(frozen=True)
class _Limits:
    nodes: int
    edges: int


_LIMITS = {
    # renderers of Mermaid refuse more than 500 edges unless they are told otherwise
    DrawingFormat.MERMAID: _Limits(nodes=200, edges=500),
    DrawingFormat.DOT: _Limits(nodes=500, edges=2_000),
    DrawingFormat.SVG: _Limits(nodes=500, edges=2_000),
}


def draw(picture: Picture, drawing_format: DrawingFormat) -> str:
    """Return a picture as a text in a format, folded if it would not be legible."""
    limits = _LIMITS[drawing_format]
    folded = fold(picture, most_nodes=limits.nodes, most_edges=limits.edges)
    match drawing_format:
        case DrawingFormat.MERMAID:
            return write_mermaid(folded)
        case DrawingFormat.DOT:
            return write_dot(folded)
        case DrawingFormat.SVG:
            return write_svg(folded)
