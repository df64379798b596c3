"""Moments as people write them: `2026-11-21T08:00:00Z`, with the offset from UTC.

Promises: one spelling rule for plans and parameters, and a refusal that says how to
write what was meant. Knows nothing of documents, so that a worker can import it without
the parsers.
"""

import re
from datetime import UTC, datetime

from .places import shown

MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?"
    r"(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)
"""How a moment is spelt."""
_YEARS = range(2, 9999)


class MomentError(ValueError):
    """A text is no moment; the message says what to write."""


def parse_moment(value: object) -> datetime:
    """Return the moment that a text names, with its offset from UTC.

    Raises MomentError for anything else.
    """
    if not isinstance(value, str) or not MOMENT.fullmatch(value):
        raise MomentError(
            "must be a moment with its offset from UTC, such as 2026-11-21T08:00:00Z, "
            f"and is {shown(value)}"
        )
    try:
        moment = datetime.fromisoformat(value.upper())
    except ValueError as error:
        raise MomentError(f"{shown(value)} is no moment: {error}") from error
    # with another offset it could be beyond what Python can read back
    if moment.year not in _YEARS:
        raise MomentError(f"must be of the years 2 to 9998, and is {shown(value)}")
    return moment


def to_utc(moment: datetime) -> datetime:
    """Return an aware moment in UTC, as a database takes it, which knows fewer zones.

    Beyond the first and the last year it is the end of these.
    """
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        first, last = (
            end.replace(tzinfo=UTC)
            for end in (datetime.min, datetime.max)  # noqa: DTZ901  # given one here
        )
        return first if moment.year == first.year else last
