"""Why a step does not run: every reason that the facts give, and what to do about it.

Pure: decides on facts that were read in one moment, and knows neither where they come
from nor how they are shown.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from .built_in import SLEEP_ACTION
from .dependencies import DependencyState
from .durations import write_duration
from .states import (
    EXECUTION_MOVES,
    TERMINAL_EXECUTION_STATUSES,
    ExecutionMove,
    ExecutionStatus,
    StepStatus,
)

MOST_COUNTED_AHEAD = 1_000


class ObstacleKind(StrEnum):
    """What keeps a step from running."""

    PAUSED = "paused"
    """Its execution is paused, or the one that this runs within."""
    HELD = "held"
    """Its plan, a tag, its queue, or what it uses is paused."""
    KEY = "key"
    """Others have the key of its execution."""
    NEEDS = "needs"
    """Steps before it have not ended."""
    TURN = "turn"
    """It is an item, and enough others run."""
    STAND_IN = "stand_in"
    """It is a fallback, and what it stands in for has not failed."""
    SIGNAL = "signal"
    """It waits until somebody, or a program, sends a signal."""
    TIMER = "timer"
    """It sleeps, or waits for its next attempt, until a moment."""
    ITEMS = "items"
    """Its own items, or iterations, run."""
    FALLBACK = "fallback"
    """It has failed, and its fallback runs."""
    CHILD = "child"
    """The execution of the plan that it runs has not ended."""
    NO_WORKER = "no_worker"
    """No living worker serves its queue."""
    NO_ACTION = "no_action"
    """Workers serve its queue, and none of them has its action."""
    QUEUE = "queue"
    """Its message waits for a free slot, or is on its way."""
    UNSENT = "unsent"
    """It has no message yet: others of its execution are sent first."""
    ATTEMPTS = "attempts"
    """Its attempts, or its losses, are used up."""
    ENDED = "ended"
    """It has ended without having run, or with its execution."""


@dataclass(frozen=True)
class Obstacle:
    """One reason why a step does not run.

    `until` is the moment that it waits for, `advice` what ends the wait sooner, or says
    more.
    """

    kind: ObstacleKind
    text: str
    advice: str | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class StillStep:
    """A step that neither runs nor has completed, and every reason for that."""

    name: str
    status: StepStatus
    obstacles: tuple[Obstacle, ...]


@dataclass(frozen=True)
class Standstill:
    """Why steps of an execution do not run.

    `steps` are those that are about to run, have failed, and wait, in this order; there
    are `steps_in_all`. `running` names up to five that do run. All of it was so at
    `seen_at`, by the database's clock.
    """

    execution_id: str
    status: ExecutionStatus
    running: tuple[str, ...]
    steps: tuple[StillStep, ...]
    steps_in_all: int
    seen_at: datetime


@dataclass(frozen=True)
class _Case:
    """A step and its execution, as they were read."""

    execution: Mapping[str, Any]
    step: Mapping[str, Any]
    status: ExecutionStatus = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "status", ExecutionStatus(self.execution["status"]))


def explain_standstill(facts: Mapping[str, Any]) -> Standstill:
    """Return why steps do not run, from what `read_standstill` in SQL has read."""
    return Standstill(
        execution_id=facts["id"],
        status=ExecutionStatus(facts["status"]),
        running=tuple(facts["running"]),
        steps=tuple(
            StillStep(
                step["name"],
                StepStatus(step["status"]),
                tuple(_find_obstacles(_Case(facts, step))),
            )
            for step in facts["steps"]
        ),
        steps_in_all=facts["steps_in_all"],
        seen_at=datetime.fromisoformat(facts["now"]),
    )


def _find_obstacles(case: _Case) -> Iterator[Obstacle]:
    match StepStatus(case.step["status"]):
        case StepStatus.PENDING:
            yield from _hold_all(case)
            yield from _hold_pending(case)
        case StepStatus.READY:
            yield from _hold_all(case)
            yield from _hold_ready(case)
        case StepStatus.WAITING:
            yield from _hold_all(case)
            yield from _hold_waiting(case)
        case StepStatus.FAILED | StepStatus.TIMED_OUT:
            yield _tell_failure(case)
        case StepStatus.CANCELLED | StepStatus.SKIPPED:
            yield _tell_end(case)
        case StepStatus.RUNNING | StepStatus.COMPLETED:  # pragma: no cover
            raise AssertionError("such a step runs, or has run")


def _hold_all(case: _Case) -> Iterator[Obstacle]:
    """Yield what keeps every step of the execution from running."""
    execution = case.execution
    if case.status is ExecutionStatus.PAUSED:
        parent = execution["parent"]
        within = f" with {parent}, within which it runs" if parent else None
        yield Obstacle(
            ObstacleKind.PAUSED,
            f"its execution was paused{within or _say_who(execution['last_act'])}",
            f"plans resume {parent or execution['id']}",
        )
    yield from _name_holds(case)
    if (until := _read_moment(execution.get("delayed_until"))) is not None:
        yield Obstacle(
            ObstacleKind.TIMER,
            "its execution was submitted to begin later",
            until=until,
        )
    if execution["key"] is not None:
        holders = ", ".join(execution["key_holders"]) or "nobody any more"
        yield Obstacle(
            ObstacleKind.KEY,
            f"its execution waits for the key {execution['key']!r}; {holders} has it",
        )


def _say_who(act: Mapping[str, Any] | None) -> str:
    if act is None:
        return ""
    by = f" by {act['by']}" if act["by"] else ""
    reason = f": {act['reason']}" if act["reason"] else ""
    return f"{by}{reason}"


_RESUMES = MappingProxyType(
    {"plan": "--plan", "tag": "--tag", "queue": "--queue", "dependency": "--uses"}
)
_TRIALS: Mapping[str | None, str] = {
    DependencyState.CANARY: "; it is tried again, with one step first",
    DependencyState.RAMP: "; it is tried again, with more and more steps",
}


def _name_holds(case: _Case) -> Iterator[Obstacle]:
    holds = case.step["holds"]
    yield from map(_describe_hold, holds)
    kind, name = _split_wait(case.step)
    if kind in _RESUMES and not any(
        (hold["kind"], hold["name"]) == (kind, name) for hold in holds
    ):
        yield Obstacle(
            ObstacleKind.HELD, f"the {kind} {name} was resumed: it goes on in a moment"
        )


def _describe_hold(hold: Mapping[str, Any]) -> Obstacle:
    trial = hold.get("trial")
    is_tried = trial in _TRIALS
    tried_at = None if is_tried else _read_moment(hold.get("tried_at"))
    by_itself = "; it is tried again by itself" if tried_at is not None else ""
    return Obstacle(
        ObstacleKind.HELD,
        f"the {hold['kind']} {hold['name']} is paused{_say_who(hold)}"
        f"{_TRIALS.get(trial, by_itself)}",
        f"plans resume {_RESUMES[hold['kind']]} {hold['name']}"
        f"{' --at-once' if is_tried else ''}",
        tried_at,
    )


def _split_wait(step: Mapping[str, Any]) -> tuple[str, str]:
    """Return the kind and the name of what a step waits for."""
    kind, _, name = (step["waits_for"] or "").partition(":")
    return kind, name


def _hold_pending(case: _Case) -> Iterator[Obstacle]:
    step = case.step
    if step["stands_in_for"] is not None:
        main = step["stands_in_for"]
        yield Obstacle(ObstacleKind.STAND_IN, f"it runs only if {main} fails")
    elif step["needs"]["count"]:
        yield Obstacle(ObstacleKind.NEEDS, f"it waits for {_name_needs(step['needs'])}")
    if step["item_of"] is not None:
        yield Obstacle(
            ObstacleKind.TURN,
            f"at most {step['max_parallel']} of {step['item_of']} run at once",
        )


def _name_needs(needs: Mapping[str, Any]) -> str:
    named = ", ".join(f"{name} ({status})" for name, status in needs["first"])
    further = needs["count"] - len(needs["first"])
    return f"{named} and {further:,} more" if further else named


def _hold_ready(case: _Case) -> Iterator[Obstacle]:
    step = case.step
    queue = step["queue"]
    if not step["serving"]:
        others = "; other queues are served" if step["living"] else ""
        yield Obstacle(
            ObstacleKind.NO_WORKER,
            f"no living worker serves the queue {queue}{others}",
            f"plans worker -Q {queue}",
        )
    elif not step["able"]:
        yield Obstacle(
            ObstacleKind.NO_ACTION,
            f"{_count(step['serving'], 'worker')} of the queue {queue} run, and none"
            f" has the action {step['action']}",
            "does PLANS_IMPORTS, or the app, of these workers name its module?",
        )
    elif case.status is not ExecutionStatus.PAUSED:
        yield _place_in_queue(step)


def _place_in_queue(step: Mapping[str, Any]) -> Obstacle:
    if not step["is_sent"]:
        return Obstacle(
            ObstacleKind.UNSENT,
            "it has no message yet: others of its execution are sent first, as many as"
            " the workers can use",
        )
    ahead = step["ahead"]
    more = " or more" if ahead >= MOST_COUNTED_AHEAD else ""
    place = f"behind {_count(ahead, 'step')}{more}" if ahead else "the next one"
    text = f"in the queue {step['queue']} it is {place}"
    if (longest := step["longest"]) is None:
        return Obstacle(ObstacleKind.QUEUE, text)
    slots, ran = _count(step["slots"], "slot"), round(longest["seconds"])
    return Obstacle(
        ObstacleKind.QUEUE,
        f"{text}; 0 of {slots} free: {longest['step']} runs longest,"
        f" for {write_duration(ran)}",
        f"plans show {longest['execution']}",
    )


def _hold_waiting(case: _Case) -> Iterator[Obstacle]:
    step = case.step
    if _split_wait(step)[0] in _RESUMES:
        # it is parked, and was about to start: nothing of it goes on elsewhere
        return
    if step["items"]:
        yield Obstacle(
            ObstacleKind.ITEMS,
            f"{step['items_left']:,} of its {step['items']:,} items have not ended",
        )
    elif step["iterations"] is not None and step["wake_at"] is None:
        yield Obstacle(
            ObstacleKind.ITEMS, f"its iteration {step['iterations']} has not ended"
        )
    elif _split_wait(step)[0] == "signal":
        yield _describe_signal(case)
    elif step["child"] is not None:
        yield Obstacle(
            ObstacleKind.CHILD,
            f"the plan that it runs is {step['child_status']}",
            f"plans why {step['child']}",
        )
    elif step["wake_at"] is not None:
        yield _describe_timer(step)
    elif step["fallback"] is not None:
        yield Obstacle(
            ObstacleKind.FALLBACK, f"it failed, and waits for {step['fallback']}"
        )


def _describe_signal(case: _Case) -> Obstacle:
    step = case.step
    name = _split_wait(step)[1]
    is_paused = case.status == ExecutionStatus.PAUSED
    return Obstacle(
        ObstacleKind.SIGNAL,
        f"it waits for the signal {name}",
        f"plans signal {case.execution['id']} {name} PAYLOAD",
        # its time stands still while the execution is paused
        None if is_paused else _read_moment(step["wake_at"]),
    )


def _read_moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _describe_timer(step: Mapping[str, Any]) -> Obstacle:
    until = _read_moment(step["wake_at"])
    if step["action"] == SLEEP_ACTION:
        text = "it sleeps"
    elif step["failures"]:
        last = f": {step['error']['message']}" if step["error"] else ""
        text = (
            f"attempt {step['failures'] + 1} of {step['max_attempts']} comes after a"
            f" wait{last}"
        )
    else:
        text = "it waits for its time"
    return Obstacle(ObstacleKind.TIMER, text, until=until)


def _tell_failure(case: _Case) -> Obstacle:
    step = case.step
    error = step["error"]
    cause = f": {error['code']} {error['message']}" if error else ""
    if step["losses"] >= step["max_lost"]:
        text = f"its worker was lost {_count(step['losses'], 'time')}{cause}"
    elif step["failures"] >= step["max_attempts"]:
        text = (
            f"{_count(step['failures'], 'attempt')} of {step['max_attempts']:,}{cause}"
        )
    else:
        text = f"it {'failed' if step['status'] == 'failed' else 'timed out'}{cause}"
    return Obstacle(ObstacleKind.ATTEMPTS, text, _advise_retry(case))


def _advise_retry(case: _Case) -> str | None:
    """Return how one that has ended goes on, if it can."""
    may_go_on = (case.status, ExecutionMove.RETRY) in EXECUTION_MOVES
    return f"plans retry {case.execution['id']} --dry-run" if may_go_on else None


_SKIPS: Mapping[str | None, str] = {
    "condition": "its condition was false",
    "needs": "all that it needs was skipped",
    "failed": "it failed, and its plan lets it be skipped then",
    "unused": "what it stands in for did not fail",
    "operator": "somebody has skipped it",
}


def _tell_end(case: _Case) -> Obstacle:
    reason = case.step["reason"]
    if case.step["status"] == StepStatus.SKIPPED:
        return Obstacle(ObstacleKind.ENDED, _SKIPS.get(reason, f"skipped: {reason}"))
    if case.status in TERMINAL_EXECUTION_STATUSES:
        text = f"its execution is {case.status}{_say_who(case.execution['last_act'])}"
    else:
        text = f"its execution is ending ({case.execution['reason']})"
    return Obstacle(ObstacleKind.ENDED, text, _advise_retry(case))


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
