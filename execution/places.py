"""How people are shown where something stands, what it is, and what was meant.

Pure text; knows nothing of documents, plans or errors.
"""

import difflib
import json
import re
from collections.abc import Iterable
from typing import TypeAlias

Path: TypeAlias = tuple[str | int, ...]
"""Keys and indexes from the root of a document to a value in it."""

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_MAX_SHOWN = 60
_MAX_PARTS = 16
_MAX_LENGTH_APART = 3


def place_of(path: Path) -> str:
    """Write a path the way people point: `steps[3].with.root`."""
    text = ""
    for part in path[:_MAX_PARTS]:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_KEY.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{shown(part)}]"
    return text if len(path) <= _MAX_PARTS else f"{text}…"


def shown(value: object) -> str:
    """Return a short quotation of a value that is safe to print on a terminal."""
    if isinstance(value, str):
        cut = value[:_MAX_SHOWN]
        return json.dumps(cut) + ("…" if len(value) > len(cut) else "")
    if isinstance(value, dict):
        return "a mapping"
    return "a list" if isinstance(value, list) else json.dumps(value)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean "x"?` for the most similar known name, or nothing."""
    name = name[:_MAX_SHOWN]
    candidates = [
        other for other in known if abs(len(other) - len(name)) <= _MAX_LENGTH_APART
    ]
    near = difflib.get_close_matches(name, candidates, n=1)
    return f"; did you mean {shown(near[0])}?" if near else ""
