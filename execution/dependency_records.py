"""The writes and reads of dependencies: what steps use, paused, tried and guarded.

Each is one call of a function in `sql/`. A move is a compare-and-set on what it was
decided from; ids are drawn by the callers, so that the same call again, after an
unknown commit, answers what happened.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

from .database import Database
from .dependencies import (
    Canary,
    DependencyGuard,
    DependencyState,
    DependencySummary,
    Move,
    Trial,
)
from .states import StepStatus


@dataclass(frozen=True)
class PauseAnswer:
    """Whether a pause landed, who has it paused, and since when.

    None of them: somebody has resumed it since this very call landed. `warning` says if
    nothing is known to use it.
    """

    landed: bool
    by: str | None
    reason: str | None
    since: datetime | None
    warning: str | None = None


@dataclass(frozen=True)
class ResumeAnswer:
    """Whether a resume landed, where the dependency stands, and how many steps wait."""

    landed: bool
    state: DependencyState
    parked_steps: int


class DependencyRecords:
    """Pauses, tries and guards dependencies."""

    def __init__(self, database: Database) -> None:
        """Write through `database`."""
        self._database = database

    def pause(
        self, name: str, *, act_id: str, by: str | None, reason: str | None
    ) -> PauseAnswer:
        """Start no step that uses a dependency, until somebody resumes it."""
        row = self._database.call("pause_dependency", act_id, name, by, reason)
        held_by, held_for, since = row["hold"] or (None, None, None)
        return PauseAnswer(row["landed"], held_by, held_for, _read_moment(since))

    def list_used(self) -> frozenset[str]:
        """Return what steps of stored plans, or actions of workers, use."""
        rows = self._database.query(
            "SELECT unnest(uses) AS name FROM {schema}.plan_steps WHERE uses <> '{}'"
            " UNION SELECT unnest(uses) FROM {schema}.actions WHERE uses <> '{}'"
        )
        return frozenset(row["name"] for row in rows)

    def resume(
        self,
        name: str,
        *,
        act_id: str,
        at_once: bool,
        by: str | None,
        reason: str | None,
    ) -> ResumeAnswer:
        """Try a dependency with one step, or let all go on `at_once`."""
        row = self._database.call(
            "resume_dependency", act_id, name, by, reason, at_once
        )
        state = DependencyState(row["state"])
        return ResumeAnswer(row["landed"], state, row["parked"])

    def guard(
        self, name: str, guard: DependencyGuard, *, by: str | None, reason: str | None
    ) -> None:
        """State when a dependency is paused by itself."""
        self._database.call(
            "guard_dependency", name, json.dumps(asdict(guard)), by, reason
        )

    def unguard(self, name: str, *, by: str | None, reason: str | None) -> bool:
        """Let only people pause a dependency; say whether it was otherwise."""
        row = self._database.call("unguard_dependency", name, by, reason)
        return bool(row["unguard_dependency"])

    def list_all(self) -> tuple[DependencySummary, ...]:
        """Return what was paused or guarded once, those first that are not free."""
        rows = self._database.call_all("list_dependencies")
        return tuple(_read_summary(row["list_dependencies"]) for row in rows)

    # trials

    def find_due(self, most: int) -> tuple[str, ...]:
        """Return the names of dependencies to decide on."""
        rows = self._database.call_all("due_dependencies", most)
        return tuple(row["due_dependencies"] for row in rows)

    def read_trial(self, name: str) -> Trial | None:
        """Return how a dependency stands, and what was seen of it."""
        found = self._database.call("read_trial", name)["read_trial"]
        return None if found is None else _read_trial(found)

    def move(self, seen: Trial, move: Move, *, act_id: str) -> tuple[str, ...] | None:
        """Do what was decided; return the executions of which steps are let through.

        None when the dependency is not as it was seen: nothing was changed.
        """
        row = self._database.call(
            "move_dependency",
            act_id,
            seen.name,
            seen.state.value,
            seen.since,
            seen.round,
            seen.look_at,
            move.state.value,
            move.look_at,
            move.give,
            move.withdraws,
            move.reason,
        )
        return tuple(row["executions"]) if row["landed"] else None


def _read_trial(data: Mapping[str, Any]) -> Trial:
    counts = ("pauses", "round", "parked", "failed", "well", "open_passes")
    return Trial(
        name=data["name"],
        state=DependencyState(data["state"]),
        since=datetime.fromisoformat(data["since"]),
        now=datetime.fromisoformat(data["now"]),
        is_paused_by_rate=data["is_paused_by_rate"],
        look_at=_read_moment(data["look_at"]),
        reason=data["reason"],
        guard=_read_guard(data["guard"]),
        canary=_read_canary(data["canary"]) if data["canary"] else None,
        **{name: data[name] for name in counts},
    )


def _read_canary(data: Mapping[str, Any]) -> Canary:
    return Canary(
        status=StepStatus(data["status"]),
        is_parked=data["is_parked"],
        is_paused=data["is_paused"],
        has_failed=data["has_failed"],
        given_at=datetime.fromisoformat(data["given_at"]),
        began_at=_read_moment(data["began_at"]),
    )


def _read_guard(data: Mapping[str, Any]) -> DependencyGuard:
    return DependencyGuard(
        **{**data, "on": tuple(data["on"]), "not_on": tuple(data["not_on"])}
    )


def _read_summary(data: Mapping[str, Any]) -> DependencySummary:
    read: dict[str, Callable[[Any], Any]] = {
        "state": DependencyState,
        "guard": _read_guard,
        "since": _read_moment,
        "look_at": _read_moment,
        "guarded_at": _read_moment,
    }
    return DependencySummary(
        **{
            field.name: read.get(field.name, _keep)(data[field.name])
            for field in fields(DependencySummary)
        }
    )


def _read_moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _keep(value: Any) -> Any:
    return value
