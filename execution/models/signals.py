"""What people and programs tell executions, and which step has heard it."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from .tables import Base, execution_key, uuid_column


class ExecutionSignal(Base):
    """A signal to an execution: kept until the step that waits for it takes it.

    It is inserted without the lock of its execution, and has no `seq` until somebody
    who holds that receives it.
    """

    __tablename__ = "execution_signals"

    execution_id: Mapped[str] = execution_key()
    id: Mapped[str] = uuid_column(primary_key=True)
    name: Mapped[str]
    payload: Mapped[dict[str, Any]]
    by: Mapped[str | None]
    reason: Mapped[str | None]
    key: Mapped[str | None]
    sent_at: Mapped[datetime]
    seq: Mapped[int | None] = mapped_column(BigInteger)
    taken_by: Mapped[int | None]
    taken_at: Mapped[datetime | None]

    __table_args__ = (
        # what was not received is in no order yet
        CheckConstraint(
            "taken_by IS NULL OR coalesce(seq, 0) > 0", name="taken_is_told"
        ),
        CheckConstraint(
            "(taken_by IS NULL) = (taken_at IS NULL)", name="taken_has_time"
        ),
        # who repeats a call with a key means the signal that is there
        Index(
            "uq_execution_signals_key",
            "execution_id",
            "key",
            unique=True,
            postgresql_where=text("key IS NOT NULL"),
        ),
        # the first that is left, for a step that begins to wait
        Index(
            "ix_execution_signals_kept",
            "execution_id",
            "name",
            "seq",
            postgresql_where=text("taken_by IS NULL"),
        ),
        # the sweep for what a transaction has sent
        Index(
            "ix_execution_signals_unreceived",
            "execution_id",
            postgresql_where=text("seq IS NULL"),
        ),
    )
