"""One execution as its page shows it, read in a few questions.

Promises: what is shown of a very large one is bounded: the steps that need a look, and
the newest entries of the timeline, with a way to those before. Knows no HTTP.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ..acts import Act, judge
from ..errors import ExecutionNotFoundError
from ..narration import choose_steps
from ..obstacles import Standstill
from ..results import Event, ExecutionProgress, ExecutionSummary, StepSummary
from ..service import ExecutionService

MOST_EVENTS = 200
"""Of the timeline, on one page."""
_MOST_STEPS = 100
_MOST_STILL_STEPS = 10
ACTS = (Act.PAUSE, Act.RESUME, Act.RETRY, Act.CANCEL)
"""What can be done on the page, in the order of its buttons."""


@dataclass(frozen=True)
class Moving:
    """What changes of an execution while it runs, but for its timeline."""

    execution: ExecutionSummary
    progress: ExecutionProgress
    steps: Sequence[StepSummary]
    steps_in_all: int
    standstill: Standstill | None
    """Why it does not go on; None once it has ended."""

    @property
    def acts(self) -> tuple[Act, ...]:
        """Return what can be done to it as it stands."""
        return tuple(act for act in ACTS if judge(act, self.execution.status).is_done)


@dataclass(frozen=True)
class Timeline:
    """A part of a timeline, the newest first."""

    events: tuple[Event, ...]
    is_newest: bool
    older: int | None
    """The number before which there are more; None if there are none."""
    most: int
    """So many are shown at a time."""


@dataclass(frozen=True)
class Shown:
    """All that a page shows, and the cursor from which on its stream continues."""

    moving: Moving
    timeline: Timeline
    cursor: str


async def read_shown(
    service: ExecutionService, execution_id: str, before: int | None
) -> Shown:
    """Return what to show, with the newest entries or those before a number.

    Raises ExecutionNotFoundError and DatabaseError.
    """
    found = await service.read_headway([execution_id])
    if execution_id not in found:
        raise ExecutionNotFoundError(f"there is no execution {execution_id}")
    last = found[execution_id].last_seq
    update, execution = await service.look(execution_id, max(last - MOST_EVENTS, 0))
    events = update.events
    if before is not None:
        events = await _read_before(service, execution_id, before)
    newest_first = tuple(reversed(events))[:MOST_EVENTS]
    is_more = bool(newest_first) and newest_first[-1].seq > 1
    timeline = Timeline(
        events=newest_first,
        is_newest=before is None,
        older=newest_first[-1].seq if is_more else None,
        most=MOST_EVENTS,
    )
    moving = await read_moving(service, execution, update.progress)
    return Shown(moving, timeline, update.cursor)


async def read_moving(
    service: ExecutionService, execution: ExecutionSummary, progress: ExecutionProgress
) -> Moving:
    """Return what changes of an execution, but for its timeline."""
    steps = await service.list_steps(execution.id)
    standstill = None
    if not execution.has_ended:
        standstill = await service.why(execution.id, most_steps=_MOST_STILL_STEPS)
    return Moving(
        execution=execution,
        progress=progress,
        steps=choose_steps(steps, _MOST_STEPS),
        steps_in_all=len(steps),
        standstill=standstill,
    )


async def _read_before(
    service: ExecutionService, execution_id: str, before: int
) -> tuple[Event, ...]:
    first = max(before - 1 - MOST_EVENTS, 0)
    limit = max(before - 1 - first, 0)
    if limit == 0:
        return ()
    return await service.list_events(execution_id, after=first, limit=limit)
