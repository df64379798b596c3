"""Which executions are meant, and where in a list of them one is.

Promises: pure; what cannot be asked is refused here, before any server is, by a
FilterError that says what can be. Knows no database.
"""

import base64
import binascii
import struct
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from .errors import CursorError, FilterError
from .expressions import Clause, TemplateError, parse_where
from .identity import is_execution_id
from .places import nearest, shown
from .states import ExecutionStatus

_CURSOR = struct.Struct(">q16s")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class ExecutionFilter:
    """Which executions are meant: those to which all of it applies; None means any.

    Of `status` and `tag`, one or several: in one of the states, with all of the tags.
    `plan` is NAME or NAME@VERSION. `since` and `until` bound when they were created,
    the second excluded. `parent_id` means those that this execution has begun,
    `is_outer` those that none has. `where` is an expression, such as
    `parameters.customer == "acme"`. Raises FilterError for what cannot be asked.
    """

    status: ExecutionStatus | Collection[ExecutionStatus] | None = None
    plan: str | None = None
    tag: str | Collection[str] | None = None
    since: datetime | None = None
    until: datetime | None = None
    parent_id: str | None = None
    is_outer: bool = False
    where: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be asked."""
        for name, text in (("plan", self.plan), *(("tag", tag) for tag in self.tags)):
            if not _is_storable(text or ""):
                raise FilterError(f"{name} {text!r} holds what no {name} can hold")
        for name in ("since", "until"):
            moment = getattr(self, name)
            if moment is not None and moment.tzinfo is None:
                raise FilterError(f"{name} {moment} has no time zone")
        if self.parent_id is not None and not is_execution_id(self.parent_id):
            raise FilterError(f"{shown(self.parent_id)} is not the id of an execution")
        assert self.statuses is not None  # noqa: S101  # read now, for what is no state
        assert self.where is None or self.clause is not None  # noqa: S101  # likewise

    @property
    def statuses(self) -> tuple[ExecutionStatus, ...]:
        """The states that are meant; none means all."""
        given = (self.status,) if isinstance(self.status, str) else self.status or ()
        return tuple(_read_status(word) for word in given)

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags that all must be there."""
        return (self.tag,) if isinstance(self.tag, str) else tuple(self.tag or ())

    def to_json(self) -> dict[str, Any]:
        """Return what was asked, as JSON; nothing for what was not."""
        asked = {
            "status": list(self.statuses),
            "plan": self.plan,
            "tag": list(self.tags),
            "since": self.since and self.since.isoformat(),
            "until": self.until and self.until.isoformat(),
            "parent_id": self.parent_id,
            "is_outer": self.is_outer,
            "where": self.where,
        }
        return {name: value for name, value in asked.items() if value}

    @property
    def clause(self) -> Clause | None:
        """What `where` says."""
        if self.where is None:
            return None
        try:
            return parse_where(self.where)
        except TemplateError as error:
            raise FilterError(f"where: {error}") from error


@dataclass(frozen=True)
class PageCursor:
    """A place in the list of executions: after this one, newest first."""

    created_at: datetime
    execution_id: str

    def __str__(self) -> str:
        since = self.created_at - _EPOCH
        packed = _CURSOR.pack(
            since // timedelta(microseconds=1), UUID(self.execution_id).bytes
        )
        return base64.urlsafe_b64encode(packed).decode()

    @classmethod
    def read(cls, text: str) -> "PageCursor":
        """Return the place that a text stands for; raises CursorError."""
        try:
            packed = base64.b64decode(text, altchars=b"-_", validate=True)
            microseconds, identity = _CURSOR.unpack(packed)
            moment = _EPOCH + timedelta(microseconds=microseconds)
        except (ValueError, binascii.Error, struct.error, OverflowError) as error:
            raise CursorError(
                f"{shown(text)} is no cursor; take the one that the page before gave"
            ) from error
        return cls(moment, str(UUID(bytes=identity)))


def _read_status(word: str) -> ExecutionStatus:
    try:
        return ExecutionStatus(word)
    except ValueError as error:
        near = nearest(str(word), ExecutionStatus)
        raise FilterError(f"{shown(str(word))} is no state{near}") from error


def _is_storable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text
