"""What pages say of executions: words and numbers, which the templates escape.

Promises: pure, and nothing here is markup. Times are in UTC, as a page is read
everywhere.
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from ..narration import list_details, tell_holder, tell_waits
from ..results import Event, ExecutionSummary, StepSummary

_LOOKS = {
    "completed": "success",
    "running": "primary",
    "failed": "danger",
    "timed_out": "danger",
    "paused": "warning",
    "ending": "warning",
    "waiting": "info",
}
_MOST_LETTERS = 20_000


def choose_look(status: str) -> str:
    """Return the classes of a state's badge, which can be read on light and dark."""
    look = _LOOKS.get(status, "secondary")
    return f"bg-{look}-subtle text-{look}-emphasis"


def write_status(status: str) -> str:
    """Return a state as words."""
    return status.replace("_", " ")


def write_moment(moment: datetime) -> str:
    """Return a moment to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def count_seconds(start: datetime | None, end: datetime | None) -> float | None:
    """Return the time from `start` to `end`, or to now; None before it began."""
    if start is None:
        return None
    # the clocks of this machine and of the database may differ a little
    return max(((end or datetime.now(UTC)) - start).total_seconds(), 0.0)


def write_span(seconds: float | None) -> str:
    """Return a time as people say it: `4.2 s`, `3 min 5 s`, `2 h 7 min`, `3 d 4 h`."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def count_percent(execution: ExecutionSummary) -> float:
    """Return how much of an execution has ended, in steps."""
    if execution.total_steps == 0:
        return 100.0
    ended = execution.total_steps - execution.open_steps
    return round(100 * ended / execution.total_steps, 1)


def write_percent(percent: float) -> str:
    """Return a percentage without needless places."""
    return f"{percent:g} %"


def name_plan(execution: ExecutionSummary) -> str:
    """Return the name of the plan, and its version if it has one."""
    return " ".join(filter(None, (execution.plan, execution.version)))


def list_waits(execution: ExecutionSummary) -> list[str]:
    """Say what keeps an execution as a whole from going on, and who said so."""
    return tell_waits(execution, write_moment, tell_holder)


def list_notes(step: StepSummary) -> list[str]:
    """Say what the state of a step alone does not."""
    source = step.cached_from
    notes = [
        f"{step.iterations} iterations" if step.iterations else "",
        f"{step.failures} failed" if step.failures else "",
        f"{step.losses} lost" if step.losses else "",
        f"waits until {write_moment(step.wake_at)}" if step.wake_at else "",
        f"waits for {step.waits_for}" if step.waits_for else "",
        f"cached from {source['execution_id']} {source['step']}" if source else "",
        f"{step.error.code} {step.error.message}" if step.error else "",
    ]
    return [note for note in notes if note]


def name_person(event: Event) -> str:
    """Return who made it happen, where somebody did."""
    return str(event.data.get("by") or "")


def describe(event: Event) -> str:
    """Return what an entry of the timeline says beside its type, step and person."""
    others = {name: value for name, value in event.data.items() if name != "by"}
    return "; ".join(list_details(others))


def write_value(value: Any) -> str:
    """Return a value as JSON to be read, cut where it is very long."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    if len(text) <= _MOST_LETTERS:
        return text
    return f"{text[:_MOST_LETTERS]}\n… {len(text) - _MOST_LETTERS:,} letters more"


WORDS: Mapping[str, Callable[..., Any]] = {
    word.__name__: word
    for word in (
        choose_look,
        write_status,
        write_moment,
        count_seconds,
        write_span,
        count_percent,
        write_percent,
        name_plan,
        list_waits,
        list_notes,
        name_person,
        describe,
        write_value,
    )
}
"""What templates may call, by name."""
