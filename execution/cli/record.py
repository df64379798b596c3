"""All that the database knows of one execution, read in one go."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..results import Event, ExecutionSummary, StateChange, StepSummary
from ..signal_records import Signal

if TYPE_CHECKING:
    from ..engine import ExecutionEngine

_EVENTS_AT_ONCE = 1000


@dataclass(frozen=True)
class Record:
    """An execution: its steps, states and signals, and its timeline, if wanted."""

    execution: ExecutionSummary
    steps: tuple[StepSummary, ...]
    history: tuple[StateChange, ...]
    signals: tuple[Signal, ...]
    events: tuple[Event, ...]


def read_record(
    engine: "ExecutionEngine", execution_id: str, *, with_events: bool = True
) -> Record:
    """Return the record of an execution; the timeline may be long, and be left out.

    Raises ExecutionNotFoundError when there is no such one.
    """
    return Record(
        execution=engine.get_status(execution_id),
        steps=engine.list_steps(execution_id),
        history=engine.get_state_history(execution_id),
        signals=engine.list_signals(execution_id),
        events=_read_events(engine, execution_id) if with_events else (),
    )


def _read_events(engine: "ExecutionEngine", execution_id: str) -> tuple[Event, ...]:
    events: list[Event] = []
    while found := engine.list_events(
        execution_id,
        after=events[-1].seq if events else 0,
        limit=_EVENTS_AT_ONCE,
    ):
        events.extend(found)
    return tuple(events)
