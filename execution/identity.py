"""Ids of executions: UUIDs of version 7, which sort by the time they were drawn at.

The client draws the id before it submits, so that a submit whose outcome is unknown
can be repeated under the same id. Layout: RFC 9562, section 5.7.
"""

import os
import re
import time
import uuid

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_RANDOM_BITS = 74


def draw_execution_id() -> str:
    """Return a new id: 48 bits of milliseconds since 1970, then 74 random ones.

    The clock orders the ids roughly; nothing depends on it being right.
    """
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10)) >> (80 - _RANDOM_BITS)
    high, low = random >> 62, random & ((1 << 62) - 1)
    value = (
        (milliseconds & ((1 << 48) - 1)) << 80
        | 0x7 << 76
        | high << 64
        | 0b10 << 62
        | low
    )
    return str(uuid.UUID(int=value))


def is_execution_id(text: str) -> bool:
    """Say whether `text` is written as an id is: a lower-case UUID."""
    return _UUID.fullmatch(text) is not None
