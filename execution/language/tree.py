"""Builds the one value a plan document is, out of what any reader reports.

    yaml_reader ──┐
    json_reader ──┼──▶ TreeBuilder ──▶ Reading (value, offsets)
    mapping_reader┘

Promises: whatever the spelling, the result holds JSON types only, within the
limits on depth, size, integers and text, and every refusal has its place.
Nothing here recurses, so depth is a fault and never a crash. Knows nothing of
plans.
"""

import bisect
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

from ..places import Path
from .breaches import Complaint
from .findings import Finding, Findings
from .rules import Rule

MAX_DOCUMENT_BYTES = 4 * 1024 * 1024
MAX_NESTING = 64
MAX_INTEGER = 2**53
MAX_NUMBER_CHARACTERS = 64
MAX_INLINE_BYTES = 256 * 1024

# 50 for each of 10,000 steps: more of the tiniest values take seconds to read and
# hundreds of megabytes, and an object that contains itself has no end of them
MAX_VALUES = 500_000

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_LINE_BREAK = re.compile(r"\r\n|\n|\r")


class UnreadableError(Exception):
    """Reading stopped half-way; the findings say why."""


@dataclass
class _Frame:
    """A container that is still open, and where its parts stand in the text."""

    container: dict[str, object] | list[object]
    offsets: dict[str, int] | list[int]
    key: str | None = None
    key_offset: int = 0


@dataclass(frozen=True)
class Reading:
    """A document that was read: its value, and where things stand in its text.

    `offsets` has, by the identity of each container, the offset in characters of
    each of its parts; `text` is None when the document did not come from text.
    """

    value: object
    offsets: Mapping[int, dict[str, int] | list[int]]
    text: str | None = None

    def locate(self, finding: Finding) -> tuple[int, int] | None:
        """Return line and column of a finding, both from one, if there is text."""
        if self.text is None:
            return None
        offset = finding.offset
        if offset is None:
            offset = self._offset_of(finding.path)
        line = bisect.bisect_right(self._line_starts, offset)
        return line, offset - self._line_starts[line - 1] + 1

    @cached_property
    def _line_starts(self) -> list[int]:
        breaks = _LINE_BREAK.finditer(self.text or "")
        return [0, *(found.end() for found in breaks)]

    def _offset_of(self, path: Path) -> int:
        """Return where the value stands, or else what encloses it."""
        value: Any = self.value
        offset = 0
        for part in path:
            parts: Any = self.offsets[id(value)] if _is_container(value) else {}
            try:
                offset, value = parts[part], value[part]
            except LookupError:
                break
        return offset


def _is_container(value: object) -> bool:
    return isinstance(value, dict | list)


class TreeBuilder:
    """Takes the parts of a document in order and keeps the JSON value they make."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._frames: list[_Frame] = []
        self._offsets: dict[int, dict[str, int] | list[int]] = {}
        self._values = 0
        self._root: object = None

    @property
    def wants_key(self) -> bool:
        """Whether the innermost container is a mapping that waits for a key."""
        if not self._frames:
            return False
        frame = self._frames[-1]
        return isinstance(frame.container, dict) and frame.key is None

    @property
    def at_top(self) -> bool:
        """Whether no container is open."""
        return not self._frames

    @property
    def in_mapping(self) -> bool:
        """Whether the innermost container is a mapping."""
        return bool(self._frames) and isinstance(self._frames[-1].container, dict)

    def open_mapping(self, offset: int = 0) -> None:
        """Start a mapping; its keys and values follow until `close`."""
        self._open(_Frame({}, {}), offset)

    def open_list(self, offset: int = 0) -> None:
        """Start a list; its items follow until `close`."""
        self._open(_Frame([], []), offset)

    def close(self) -> None:
        """End the innermost container."""
        self._frames.pop()
        self._value_ended()

    def key(self, text: str, offset: int = 0) -> None:
        """Give the key of the value that follows."""
        frame = self._frames[-1]
        complaint = scalar_fault(text)
        frame.key = _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)
        frame.key_offset = offset
        if frame.key in frame.container:
            message = "is given twice; keep one of the two"
            self.refuse_here(Rule.DUPLICATE_KEY, message, offset)
        elif complaint:
            self.refuse_here(complaint.rule, f"has a key that {complaint}", offset)

    def scalar(self, value: object, offset: int = 0) -> None:
        """Give a value that is no container."""
        if complaint := scalar_fault(value):
            self.refuse(complaint.rule, complaint.message, offset)
            return
        # PostgreSQL's jsonb has no negative zero, and the digest must survive it
        self._attach(value + 0.0 if isinstance(value, float) else value, offset)
        self._value_ended()

    def refuse(self, rule: Rule, message: str, offset: int = 0) -> None:
        """Note a fault in place of a value."""
        self._attach(None, offset)
        self.refuse_here(rule, message, offset)
        self._value_ended()

    def refuse_here(self, rule: Rule, message: str, offset: int | None = None) -> None:
        """Note a fault at the value that is being built."""
        self._findings.add(self._path(), rule, message, offset)

    def stop(self, rule: Rule, message: str, offset: int) -> NoReturn:
        """Give up on the text as a whole, because of what stands at `offset`."""
        self._findings.add((), rule, message, offset)
        raise UnreadableError(message)

    def reading(self, text: str | None = None) -> Reading:
        """Return what was built."""
        return Reading(self._root, self._offsets, text)

    def _open(self, frame: _Frame, offset: int) -> None:
        self._attach(frame.container, offset)
        if len(self._frames) >= MAX_NESTING:
            message = f"is nested deeper than {MAX_NESTING} levels"
            self.refuse_here(Rule.NESTING, message, offset)
            raise UnreadableError
        self._offsets[id(frame.container)] = frame.offsets
        self._frames.append(frame)

    def _attach(self, value: object, offset: int) -> None:
        self._values += 1
        if self._values > MAX_VALUES:
            message = f"holds more than {MAX_VALUES:,} values"
            self.refuse_here(Rule.DOCUMENT_SIZE, message, offset)
            raise UnreadableError
        if not self._frames:
            self._root = value
            return
        frame = self._frames[-1]
        if isinstance(frame.container, list):
            frame.container.append(value)
            frame.offsets.append(offset)  # type: ignore[union-attr]  # a list has a list of offsets
        elif frame.key is not None and frame.key not in frame.container:
            frame.container[frame.key] = value
            frame.offsets[frame.key] = frame.key_offset  # type: ignore[call-overload]  # and a mapping has a mapping

    def _value_ended(self) -> None:
        if self._frames:
            self._frames[-1].key = None

    def _path(self) -> Path:
        path: list[str | int] = []
        for frame in self._frames:
            if frame.key is not None:
                path.append(frame.key)
            elif isinstance(frame.container, list) and frame.container:
                path.append(len(frame.container) - 1)
        return tuple(path)


def scalar_fault(value: object) -> Complaint | None:
    """Return what is wrong with a value that is no container, or None."""
    match value:
        case None | bool():
            return None
        case str():
            return _text_fault(value)
        case int():
            if abs(value) > MAX_INTEGER:
                message = "is an integer beyond ±2^53; write it as text, in quotes"
                return Complaint(Rule.NUMBER_RANGE, message)
            return None
        case float():
            if math.isfinite(value):
                return None
            return Complaint(Rule.NUMBER_RANGE, "is not a finite number")
        case _:
            return Complaint(
                Rule.NOT_JSON,
                f"is a {type(value).__name__}, and a plan holds JSON only: "
                "text, numbers, true, false, null, lists and mappings",
            )


def _text_fault(text: str) -> Complaint | None:
    found = _UNSTORABLE.search(text)
    if found is None:
        return None
    what = "a NUL character" if found[0] == "\x00" else "half of a surrogate pair"
    message = f"holds {what}, which cannot be stored; remove it"
    return Complaint(Rule.UNSTORABLE_TEXT, message)


def canonical_json(value: object) -> bytes:
    """Return the one spelling of a JSON value: sorted keys, no spaces, UTF-8."""
    text = json.dumps(
        value,
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        allow_nan=False,
    )
    return text.encode()


def size_fault(value: object) -> str | None:
    """Return a fault when a value is too large to travel inline."""
    size = len(canonical_json(value))
    if size <= MAX_INLINE_BYTES:
        return None
    return (
        f"takes {size:,} bytes; {MAX_INLINE_BYTES:,} are allowed: store it elsewhere,"
        " and pass on where it lies"
    )
