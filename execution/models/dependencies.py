"""What steps use, whether it is paused, and what was seen of it."""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    Integer,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from ..dependencies import DependencyState
from .tables import HOT_TABLE, Base, one_of, step_reference, uuid_column


class Dependency(Base):
    """Something that steps use and that was paused once, or is guarded."""

    __tablename__ = "dependencies"

    name: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(server_default="free")
    since: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))
    by: Mapped[str | None]
    reason: Mapped[str | None]
    look_at: Mapped[datetime | None]
    pauses: Mapped[int] = mapped_column(server_default="0")
    round: Mapped[int] = mapped_column(server_default="0")
    act_id: Mapped[str | None] = uuid_column()
    counted_from: Mapped[datetime] = mapped_column(
        server_default=text("clock_timestamp()")
    )
    is_paused_by_rate: Mapped[bool] = mapped_column(server_default="false")
    pause_at: Mapped[float | None]
    of_last: Mapped[int] = mapped_column(server_default="20")
    window_seconds: Mapped[float | None]
    cooldown_seconds: Mapped[float] = mapped_column(server_default="30")
    most_cooldown_seconds: Mapped[float] = mapped_column(server_default="600")
    canary_seconds: Mapped[float] = mapped_column(server_default="300")
    ramp_seconds: Mapped[float] = mapped_column(server_default="5")
    failing_on: Mapped[list[str]] = mapped_column(server_default="{}")
    not_failing_on: Mapped[list[str]] = mapped_column(server_default="{}")
    guarded_by: Mapped[str | None]
    guard_reason: Mapped[str | None]
    guarded_at: Mapped[datetime | None]

    __table_args__ = (
        # another word would be a state that no code leaves
        CheckConstraint(one_of("state", DependencyState), name="state_known"),
        # what is let through again must come to an end
        CheckConstraint(
            "state IN ('free', 'paused') OR look_at IS NOT NULL",
            name="trial_is_looked_at",
        ),
        CheckConstraint("pause_at > 0 AND pause_at <= 1", name="pause_at_is_share"),
        Index(
            "ix_dependencies_look_at",
            "look_at",
            postgresql_where=text("look_at IS NOT NULL"),
        ),
        HOT_TABLE,
    )


class DependencyOutcome(Base):
    """How one attempt ended that used a dependency which is guarded."""

    __tablename__ = "dependency_outcomes"

    # no foreign key: each row would lock that of its dependency, and all meet there
    name: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    has_failed: Mapped[bool]
    at: Mapped[datetime]


class DependencyPass(Base):
    """A step that is let through while what it uses is paused for all others."""

    __tablename__ = "dependency_passes"

    name: Mapped[str] = mapped_column(
        ForeignKey("dependencies.name", ondelete="CASCADE"), primary_key=True
    )
    execution_id: Mapped[str] = uuid_column(primary_key=True)
    position: Mapped[int] = mapped_column(
        Integer, primary_key=True, autoincrement=False
    )
    given_at: Mapped[datetime]
    is_canary: Mapped[bool]
    has_failed: Mapped[bool | None]

    __table_args__ = (
        step_reference(),
        # a second canary would be a second failure
        Index(
            "uq_dependency_passes_canary",
            "name",
            unique=True,
            postgresql_where=text("is_canary"),
        ),
        Index("ix_dependency_passes_step", "execution_id", "position"),
    )
