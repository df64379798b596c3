"""What the timeline of an execution must be, whatever happened to its processes."""

from execution.engine import ExecutionEngine
from execution.results import Event
from execution.states import ExecutionStatus, StepStatus
from execution.windows import Window

_STEP_STATUS = {
    "step.added": StepStatus.PENDING,
    "step.ready": StepStatus.READY,
    "step.started": StepStatus.RUNNING,
    "step.waiting": StepStatus.WAITING,
    "step.retrying": None,
    "step.cached": None,
    "step.progress": None,
    "step.lost": None,
    "step.yielded": None,
    "step.drained": None,
    "step.forced": StepStatus.COMPLETED,
    "step.completed": StepStatus.COMPLETED,
    "step.failed": StepStatus.FAILED,
    "step.timed_out": StepStatus.TIMED_OUT,
    "step.skipped": StepStatus.SKIPPED,
    "step.cancelled": StepStatus.CANCELLED,
    "recovery.initiated": None,
    "checkpoint.restored": StepStatus.PENDING,
}
_EXECUTION_STATUS = {
    "execution.started": ExecutionStatus.RUNNING,
    "execution.paused": ExecutionStatus.PAUSED,
    "execution.resumed": ExecutionStatus.RUNNING,
    # both also after a resume: it goes on waiting for its time, or its key
    "execution.delayed": ExecutionStatus.PENDING,
    "execution.held": ExecutionStatus.PENDING,
    "execution.retried": ExecutionStatus.PENDING,
    "execution.ending": ExecutionStatus.ENDING,
    "execution.completed": ExecutionStatus.COMPLETED,
    "execution.failed": ExecutionStatus.FAILED,
    "execution.cancelled": ExecutionStatus.CANCELLED,
    "execution.timed_out": ExecutionStatus.TIMED_OUT,
}
_BEGIN_ANEW = frozenset({"checkpoint.restored", "execution.retried"})


def read_timeline(engine: ExecutionEngine, execution_id: str) -> tuple[Event, ...]:
    """Return every event of an execution."""
    return engine.list_events(execution_id, limit=1_000_000)


def check_timeline(engine: ExecutionEngine, execution_id: str) -> None:
    """Assert what is promised of every ended execution.

    The numbers have no gap; replaying the events gives the state that the tables hold;
    each step has at most one success, until the execution goes back to before it; no
    step started before all that it needs was settled, or while the execution was
    paused; at its end only those start that belong to it; the terminal event is the
    last.
    """
    events = read_timeline(engine, execution_id)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    execution = engine.get_status(execution_id)
    steps = engine.list_steps(execution_id)
    replayed, status = replay(events)
    for step in steps:
        assert replayed.get(step.name, StepStatus.PENDING) is step.status, step.name
    assert status is execution.status
    check_successes(events)
    if execution.has_ended:
        assert events[-1].type == f"execution.{execution.status}"
        assert execution.open_steps == 0


def replay(
    events: tuple[Event, ...],
) -> tuple[dict[str, StepStatus], ExecutionStatus]:
    """Return the states of the steps, and of the execution, that the events tell."""
    steps: dict[str, StepStatus] = {}
    status = ExecutionStatus.PENDING
    late: set[str | None] = set()
    for event in events:
        if event.type == "step.started":
            due = (
                ExecutionStatus.ENDING
                if event.step in late
                else ExecutionStatus.RUNNING
            )
            assert status is due, f"{event.step} started while {status}"
            assert steps.get(str(event.step)) is StepStatus.READY, event.step
        if event.type in _BEGIN_ANEW:
            steps |= dict.fromkeys(event.data["steps"], StepStatus.PENDING)
        if event.type == "step.added" and status is ExecutionStatus.ENDING:
            late.add(event.step)
        if event.step is not None and (after := _STEP_STATUS.get(event.type)):
            steps[event.step] = after
        status = _EXECUTION_STATUS.get(event.type, status)
    return steps, status


def check_successes(events: tuple[Event, ...]) -> None:
    """Assert that no step succeeds twice, unless the execution went back in between."""
    successful: set[str | None] = set()
    for event in events:
        if event.type in _BEGIN_ANEW:
            successful -= set(event.data["steps"])
        elif event.type == "step.completed":
            assert event.step not in successful, f"{event.step} succeeded twice"
            successful.add(event.step)


def heads(windows: tuple[Window, ...]) -> list[str]:
    """Return the names of the steps that the windows begin with."""
    return [window.links[0].step for window in windows]
