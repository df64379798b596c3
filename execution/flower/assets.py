"""The tab's own script and style sheet, as they lie in `static/`.

Promises: each has a name that changes with its content, so that a browser may keep it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

_FOLDER = Path(__file__).parent / "static"
_TYPES = {".js": "text/javascript", ".css": "text/css"}


@dataclass(frozen=True)
class Asset:
    """A file for browsers; `version` changes with its content."""

    content: bytes
    content_type: str
    version: str


def read_assets() -> Mapping[str, Asset]:
    """Return all files, by name."""
    return {
        path.name: _read(path)
        for path in sorted(_FOLDER.iterdir())
        if path.suffix in _TYPES
    }


def _read(path: Path) -> Asset:
    content = path.read_bytes()
    kind = f"{_TYPES[path.suffix]}; charset=utf-8"
    return Asset(content, kind, sha256(content).hexdigest()[:16])
