"""Durations as people write them: `250ms`, `30s`, `1h30m`, `2d`.

Promises: one spelling rule for plans, parameters and settings, and a refusal
that says how to write what was meant. Knows nothing of documents, so that a
worker can import it without the parsers.
"""

import re

MAX_DURATION_DAYS = 3650

DURATION = re.compile(
    r"(?:([0-9]{1,15})d)?(?:([0-9]{1,15})h)?(?:([0-9]{1,15})m(?!s))?"
    r"(?:([0-9]{1,15})s)?(?:([0-9]{1,15})ms)?"
)
"""How a duration is spelt; the empty text matches too, and is none."""

_BARE_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_UNITS = ("d", "h", "m", "s", "ms")
_UNIT_MILLISECONDS = (86_400_000, 3_600_000, 60_000, 1_000, 1)
_MAX_MILLISECONDS = MAX_DURATION_DAYS * 86_400_000
_HOW_TO = "write whole numbers with units, largest first, such as 30s, 1h30m or 250ms"


class DurationError(ValueError):
    """A text is not a duration; the message says what to write."""


def parse_duration_seconds(text: str) -> float:
    """Return the length of a duration in seconds, to the millisecond.

    `text` is a compound of `d`, `h`, `m`, `s` and `ms`, largest unit first, each
    at most once. Zero is a duration; whether it makes sense is for the caller.
    Raises DurationError for anything else, and beyond 3,650 days.
    """
    if _BARE_NUMBER.fullmatch(text):
        number = text if len(text) < 20 else "30"
        raise DurationError(f"a number needs a unit: {number}s, {number}m or {number}h")
    found = DURATION.fullmatch(text)
    if not text or found is None:
        raise DurationError(f"is not a duration: {_HOW_TO}")
    milliseconds = sum(
        int(count) * unit
        for count, unit in zip(found.groups(), _UNIT_MILLISECONDS, strict=True)
        if count
    )
    if milliseconds > _MAX_MILLISECONDS:
        raise DurationError(f"is longer than {MAX_DURATION_DAYS} days")
    return milliseconds / 1000


def write_duration(seconds: float) -> str:
    """Return a length of time as people write it, to the millisecond: `1h30m`."""
    rest = round(seconds * 1000)
    text = ""
    for unit, size in zip(_UNITS, _UNIT_MILLISECONDS, strict=True):
        count, rest = divmod(rest, size)
        text += f"{count}{unit}" if count else ""
    return text or "0s"
