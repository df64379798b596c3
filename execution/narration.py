"""What is told of executions, steps and events: the words, without their looks.

Promises: text of users' is handed on as it is; who shows it makes it harmless. Pure: it
does not know whether a terminal or a browser shows it.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from .holds import Hold
from .results import ExecutionSummary, StepSummary
from .states import StepStatus

_RANKS = {
    StepStatus.FAILED: 0,
    StepStatus.TIMED_OUT: 0,
    StepStatus.RUNNING: 1,
    StepStatus.WAITING: 2,
}
_TOLD_AS_THEY_ARE = (
    "name",
    "signal",
    "key",
    "waits_for",
    "resumed",
    "message",
    "reason",
    "comment",
    "by",
)


def choose_steps(steps: Sequence[StepSummary], most: int) -> Sequence[StepSummary]:
    """Return at most so many steps, in order: what needs a look comes before the rest.

    That is what went wrong, then what runs or waits, then what was begun last.
    """
    if len(steps) <= most:
        return steps
    ranked = sorted(steps, key=_rank_step)
    return sorted(ranked[:most], key=lambda step: step.position)


def _rank_step(step: StepSummary) -> tuple[int, float]:
    begun = step.claimed_at.timestamp() if step.claimed_at else 0.0
    return (_RANKS.get(step.status, 3 if step.claimed_at else 4), -begun)


def tell_waits(
    execution: ExecutionSummary,
    write_moment: Callable[[datetime], str],
    write_rest: Callable[[Hold], str] = lambda _: "",
) -> list[str]:
    """Say what keeps an execution as a whole from going on.

    `write_rest` says more of what is paused, as the rest of a sentence.
    """
    waits = [f"{hold} is paused{write_rest(hold)}" for hold in execution.holds]
    if execution.has_ended:
        return waits
    if execution.is_delayed and execution.starts_at:
        waits.append(f"begins {write_moment(execution.starts_at)}")
    elif execution.waits_for_key:
        waits.append(f"waits for its key {execution.concurrency_key}")
    return waits


def tell_holder(hold: Hold, since: str = "") -> str:
    """Return who has paused it and why, as the rest of a sentence."""
    by = f" by {hold.by}" if hold.by else ""
    why = f": {hold.reason}" if hold.reason else ""
    return f"{by}{since}{why}"


def list_details(data: Mapping[str, object]) -> list[str]:
    """Return what there is to say of an entry of the timeline, beside its type."""
    details = [
        f"{name} {data[name]}" for name in ("attempt", "host", "to") if name in data
    ]
    if (iteration := data.get("iteration")) is not None:
        details.append(f"iteration {iteration}")
    if (child := data.get("child")) is not None:
        details.append(f"runs as {child}")
    match data.get("percent"):
        case int() | float() as percent:
            details.append(f"{percent:.0f} %")
        case _:
            pass
    details.extend(str(data[name]) for name in _TOLD_AS_THEY_ARE if data.get(name))
    match data:
        case {"error": {"code": code, "message": message}}:
            details.append(f"{code} {message}")
        case {"from": {"execution_id": execution_id, "step": step}, **others}:
            details.append(f"from {execution_id} {step}")
            details.append(f"{others.get('age_seconds', 0):.0f} s old")
        case _:
            pass
    return details
