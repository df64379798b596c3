"""How far a reader of events has come, as text that it can keep.

A cursor of one execution is the number of the last event that was read and the moment
at which that was written: `17.64ae0b3b5a1c2`. Numbers have no gaps and are never
given twice, so a number is enough as long as the database only goes on. One that was
restored from a backup gives the same numbers to other events; the moment, which no
other event has, tells. A plain number is a cursor as well, without that safeguard.

A cursor of all executions is a place in the order of their ends, and the last event
that was read of each that had not ended before that place: `Horizon`. It takes 30
bytes or so for each of these.

Pure: it knows neither who reads nor where events are.
"""

import re
import struct
import uuid
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from .errors import CursorError

_MARK = re.compile(r"([0-9]{1,18})(?:\.([0-9a-f]{1,16}))?")
_HORIZON = re.compile(r"([0-9a-f]{8})\.([0-9a-f]{1,16})\.([0-9a-f]{32})((?:\.[\w-]+)*)")
_ENTRY = struct.Struct(">16sQQ")
"""An execution's id, the number of its last event, and the moment plus one, or 0."""
_MOST_ENTRIES = 1_000_000
_FIRST_ID = str(uuid.UUID(int=0))
_ZERO = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)
_MOST_TICKS = (datetime.max.replace(tzinfo=UTC) - _ZERO) // _TICK


@dataclass(frozen=True)
class Mark:
    """The last event that was read of one execution; number 0 stands before the first.

    `moment` is when it was written, in microseconds since 1970, if that is known.
    """

    seq: int = 0
    moment: int | None = None

    def __str__(self) -> str:
        """Return it as text; `read_mark` reads that."""
        return str(self.seq) if self.moment is None else f"{self.seq}.{self.moment:x}"

    def is_at(self, seq: int, at: datetime) -> bool:
        """Say whether that event is the one that was read."""
        return self.seq == seq and self.moment in (None, count_ticks(at))


def read_mark(after: int | str) -> Mark:
    """Return what a caller gave: a cursor, or the number of an event.

    Raises CursorError for anything else.
    """
    # True is an integer, too, and 1.5 looks like a cursor
    match = _MARK.fullmatch(str(after)) if type(after) in (int, str) else None
    if match is None:
        raise CursorError(
            f"{after!r:.100} is no cursor; give the `cursor` of an update, the number"
            " of an event, or 0 to read from the first"
        )
    return Mark(int(match[1]), int(match[2], 16) if match[2] else None)


def count_ticks(at: datetime) -> int:
    """Return a moment as microseconds since 1970, exactly."""
    return (at - _ZERO) // _TICK


@dataclass(frozen=True)
class Horizon:
    """How far a reader of all executions has come in one installation.

    Of those that ended before the execution `last_id` did, at `ended` (microseconds
    since 1970), everything was read; of the others what their `marks` say, and nothing
    of those without one.
    """

    installation: str
    ended: int = 0
    last_id: str = _FIRST_ID
    marks: Mapping[str, Mark] = field(default_factory=dict)

    @property
    def place(self) -> tuple[int, str]:
        """Where it is in the order of ends."""
        return self.ended, self.last_id

    def __str__(self) -> str:
        """Return it as text; `read_horizon` reads that."""
        return write_horizon(self, pack_marks(self.marks))


def write_horizon(horizon: Horizon, *packs: str) -> str:
    """Return `horizon` as text, but with packed marks in the place of its own.

    A mark in a later pack stands in place of one in an earlier.
    """
    last_id = uuid.UUID(horizon.last_id).hex
    head = f"{horizon.installation}.{horizon.ended:x}.{last_id}"
    return ".".join([head, *filter(None, packs)])


def pack_marks(marks: Mapping[str, Mark]) -> str:
    """Return marks as text."""
    if not marks:
        return ""
    entries = (
        _ENTRY.pack(
            uuid.UUID(execution_id).bytes,
            mark.seq,
            0 if mark.moment is None else mark.moment + 1,
        )
        # ids sort by time, and those that were drawn together begin alike
        for execution_id, mark in sorted(marks.items())
    )
    packed = zlib.compress(b"".join(entries), level=1)
    return urlsafe_b64encode(packed).decode().rstrip("=")


def read_horizon(after: str) -> Horizon:
    """Return what `str` made of a horizon. Raises CursorError for anything else."""
    match = _HORIZON.fullmatch(after)
    if match is not None:
        installation, ended, last_id, packs = match.groups()
        marks: dict[str, Mark] = {}
        try:
            for pack in packs.split(".")[1:]:
                marks |= _unpack_marks(pack)
        except (ValueError, zlib.error, struct.error):
            # cut off, or altered
            pass
        else:
            horizon = Horizon(
                installation, int(ended, 16), str(uuid.UUID(last_id)), marks
            )
            if _is_possible(horizon):
                return horizon
    raise CursorError(
        f"{after!r:.100} is no cursor of all executions; give the `cursor` of an update"
        " of `monitor_all`, or that of `get_cursor`"
    )


def _is_possible(horizon: Horizon) -> bool:
    """Say whether the database can hold such a time, and such numbers."""
    return horizon.ended <= _MOST_TICKS and all(
        mark.seq < 10**18 for mark in horizon.marks.values()
    )


def _unpack_marks(pack: str) -> dict[str, Mark]:
    packed = urlsafe_b64decode(pack + "=" * (-len(pack) % 4))
    reader = zlib.decompressobj()
    entries = reader.decompress(packed, _MOST_ENTRIES * _ENTRY.size)
    if not reader.eof or reader.unused_data:
        raise ValueError("it is not whole")
    return {
        str(uuid.UUID(bytes=execution)): Mark(seq, tick - 1 if tick else None)
        for execution, seq, tick in _ENTRY.iter_unpack(entries)
    }
