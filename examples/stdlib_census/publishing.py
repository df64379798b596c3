"""Puts the report where people find it: `census.md` and, beside it, `census.svg`.

Promises: a reader sees the old file or the new one, never a part, even if the writer
is killed or another attempt of the same step writes at the same time; publishing the
same survey again changes nothing that a reader could see.

Must not know what is in the files.
"""

import secrets
from os import fsync
from pathlib import Path
from typing import Any

from .picture import draw
from .report import write_report
from .survey import Survey

_REPORT, _PICTURE = "census.md", "census.svg"


def publish(survey: Survey, output: str) -> dict[str, Any]:
    """Write both files; return their paths and the headline numbers as plain JSON."""
    directory = Path(output).expanduser().resolve()
    directory.mkdir(parents=True, exist_ok=True)
    # The picture first: the report links to it.
    write_whole(directory / _PICTURE, draw(survey))
    write_whole(directory / _REPORT, write_report(survey, picture=_PICTURE))
    return {
        "report": str(directory / _REPORT),
        "picture": str(directory / _PICTURE),
        **survey.headlines(),
    }


def write_whole(path: Path, text: str) -> None:
    """Write the text as UTF-8 beside its place, then rename it there."""
    # A name of its own: two attempts must not write into one draft.
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with draft.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
