"""What people have paused beside single executions: plans, tags, queues."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from ..holds import HoldKind
from .tables import Base, one_of, uuid_column


class Hold(Base):
    """A plan, a tag, a queue or a dependency of which no step starts until its resume.

    It covers what is there and what is submitted later, and so it is one row, however
    many executions it stops.
    """

    __tablename__ = "holds"

    kind: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[str] = uuid_column()
    by: Mapped[str | None]
    reason: Mapped[str | None]
    created_at: Mapped[datetime]

    __table_args__ = (CheckConstraint(one_of("kind", HoldKind), name="kind_known"),)


class PastHold(Base):
    """A hold that was resumed: who set it and who ended it, and why."""

    __tablename__ = "past_holds"

    kind: Mapped[str]
    name: Mapped[str]
    id: Mapped[str] = uuid_column(primary_key=True)
    by: Mapped[str | None]
    reason: Mapped[str | None]
    created_at: Mapped[datetime]
    resume_id: Mapped[str] = uuid_column()
    resumed_by: Mapped[str | None]
    resume_reason: Mapped[str | None]
    resumed_at: Mapped[datetime]

    __table_args__ = (
        CheckConstraint(one_of("kind", HoldKind), name="kind_known"),
        # who resumed it last
        Index("ix_past_holds_name", "kind", "name", "resumed_at"),
    )
