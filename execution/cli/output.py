"""How values of ours become JSON, and what `--json` prints of those that are not.

`shapes` says what each command prints; a test holds what they print against it.
"""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    # shapes are of what others have loaded; to print needs none of it
    from ..comparison import Comparison
    from .judging import Judged
    from .record import Record


_UNSEEN = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Controls that JSON leaves as they are, and what turns lines around."""


def to_json(value: Any) -> Any:
    """Return a value of ours in JSON types."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in fields(value)}
    match value:
        case Enum():
            return value.value
        case datetime():
            return value.isoformat()
        case Mapping():
            return {str(key): to_json(item) for key, item in value.items()}
        case list() | tuple():
            return [to_json(item) for item in value]
        case Path():
            return str(value)
        case _:
            return value


def print_json(value: Any, *, on_one_line: bool = False) -> None:
    """Print a value of ours as JSON and flush, so that a pipe sees it at once."""
    typer.echo(write_json(value, on_one_line=on_one_line))
    sys.stdout.flush()


def write_json(value: Any, *, on_one_line: bool = False) -> str:
    """Return a value of ours as JSON that a terminal shows and does not obey."""
    encoding = (getattr(sys.stdout, "encoding", None) or "").lower()
    text = json.dumps(
        to_json(value),
        indent=None if on_one_line else 2,
        # another encoding would turn letters into question marks
        ensure_ascii=not encoding.startswith("utf"),
    )
    # beyond ASCII they stand in texts alone, which may be written in another way
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def shape_judged(judged: Sequence["Judged"]) -> dict[str, Any]:
    """Return what `validate --json` prints of one file or of several."""
    shapes = [_shape_one(one) for one in judged]
    if len(shapes) == 1:
        return shapes[0]
    return {
        "valid": all(one.is_valid for one in judged),
        "faults": [fault for one in judged for fault in one.faults],
        "files": shapes,
    }


def _shape_one(judged: "Judged") -> dict[str, Any]:
    plan = judged.plan
    return {
        "valid": judged.is_valid,
        "plan": plan.name if plan else None,
        "version": plan.version if plan else None,
        "digest": plan.digest if plan else None,
        "steps": len(plan.steps) if plan else 0,
        "faults": judged.faults,
        "warnings": judged.warnings,
        "file": judged.file,
    }


def shape_comparison(comparison: "Comparison") -> dict[str, Any]:
    """Return what `diff --json` prints."""
    return {"same": comparison.is_same, **to_json(comparison)}


def shape_record(record: "Record", *, with_events: bool) -> dict[str, Any]:
    """Return what `show --json` prints."""
    shape = {
        "execution": record.execution,
        "steps": record.steps,
        "history": record.history,
        "signals": record.signals,
    }
    return shape | ({"events": record.events} if with_events else {})
