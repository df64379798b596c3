"""A few shapes of SVG, enough for a chart.

Promises: what comes out is well-formed XML whatever the texts hold, and the same calls
give the same bytes. Coordinates are pixels from the top left.

Must not know what is drawn.
"""

import re
import xml.etree.ElementTree as ET

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_FONTS = "'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', sans-serif"


class Drawing:
    """A picture that grows with every call."""

    def __init__(self, width: int, height: int, title: str, description: str) -> None:
        """Begin with an empty page; title and description are for screen readers."""
        self._root = ET.Element(
            "svg",
            {
                "xmlns": "http://www.w3.org/2000/svg",
                "viewBox": f"0 0 {width} {height}",
                "width": str(width),
                "height": str(height),
                "role": "img",
                "font-family": _FONTS,
            },
        )
        self._leaf(self._root, "title", {}, title)
        self._leaf(self._root, "desc", {}, description)

    def box(
        self, place: tuple[float, float, float, float], fill: str, *, hint: str = ""
    ) -> None:
        """Fill a rectangle: x, y, width and height; the hint shows on hovering."""
        names = ("x", "y", "width", "height")
        sides = {n: _number(v) for n, v in zip(names, place, strict=True)}
        shape = ET.SubElement(self._root, "rect", {**sides, "fill": fill})
        if hint:
            self._leaf(shape, "title", {}, hint)

    def line(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Draw a hairline."""
        ends = {"x1": start[0], "y1": start[1], "x2": end[0], "y2": end[1]}
        sides = {name: _number(value) for name, value in ends.items()}
        ET.SubElement(self._root, "line", {**sides, "stroke": "#d9d5cc"})

    def text(
        self,
        at: tuple[float, float],
        words: str,
        *,
        size: int = 13,
        fill: str = "#22303c",
        bold: bool = False,
        anchor: str = "start",
    ) -> None:
        """Write one line of text whose baseline starts, or ends, at the point."""
        style = {
            "x": _number(at[0]),
            "y": _number(at[1]),
            "font-size": str(size),
            "fill": fill,
            "text-anchor": anchor,
        }
        if bold:
            style["font-weight"] = "700"
        self._leaf(self._root, "text", style, words)

    def to_xml(self) -> str:
        """Return the picture as a document."""
        ET.indent(self._root)
        return ET.tostring(self._root, encoding="unicode", xml_declaration=False) + "\n"

    @staticmethod
    def _leaf(parent: ET.Element, tag: str, style: dict[str, str], words: str) -> None:
        # ElementTree escapes markup, but lets through what no XML document may hold.
        ET.SubElement(parent, tag, style).text = _NOT_XML.sub("\ufffd", words)


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
