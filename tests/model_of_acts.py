"""A small model of one execution of three steps in a line, and of all acts on it.

Promises to be plain tables and lists of Python: it knows nothing of SQL, of Celery or
of time. The second step waits for a signal, the third uses a dependency.
"""

from dataclasses import dataclass, field

from execution import ExecutionStatus, StepStatus
from execution.holds import HoldKind

Target = tuple[HoldKind, str]
"""What is held: its kind, and its name."""

WAIT = 1
"""The step that waits for a signal."""
USER = 2
"""The step that uses the dependency."""
MOST_LOST = 3
_E, _S = ExecutionStatus, StepStatus
ALIVE = frozenset({_E.PENDING, _E.RUNNING, _E.PAUSED})
UNSTARTED = frozenset({_S.PENDING, _S.READY, _S.WAITING})
_STOPPED = frozenset({_S.FAILED, _S.CANCELLED})
_SETTLED = frozenset({_S.COMPLETED, _S.SKIPPED})


@dataclass
class Model:
    """How the execution ought to stand.

    `goal` is how it ends once nothing of it runs any more; `holds` are the oldest
    first; `waits_for` is the hold that its one parked step has met; `kept` counts the
    signals that no step has taken.
    """

    status: ExecutionStatus = _E.PENDING
    steps: list[StepStatus] = field(
        default_factory=lambda: [_S.READY, _S.PENDING, _S.PENDING]
    )
    epoch: int = 1
    goal: ExecutionStatus | None = None
    holds: list[Target] = field(default_factory=list)
    waits_for: Target | None = None
    kept: int = 0
    losses: list[int] = field(default_factory=lambda: [0, 0, 0])

    # what is asked of the execution: each says whether it may be, and then it is

    def pause(self) -> bool:
        """Pause it."""
        if self.status not in {_E.PENDING, _E.RUNNING}:
            return False
        self.status = _E.PAUSED
        return True

    def resume(self) -> bool:
        """Let it go on."""
        if self.status is not _E.PAUSED:
            return False
        self.status = _E.RUNNING
        self.epoch += 1
        return True

    def cancel(self, *, gives_time: bool) -> bool:
        """Cancel it; what runs of one that is ending can be given another time."""
        if self.status in ALIVE:
            self._begin_end(_E.CANCELLED)
            return True
        return self.status is _E.ENDING and gives_time

    def retry(self) -> bool:
        """Let it go on after its end, from what has stopped."""
        if self.goal is None or self.status is not self.goal:
            return False
        if not _STOPPED & set(self.steps):
            return False
        self.status, self.goal = _E.PENDING, None
        self.epoch += 1
        for position, status in enumerate(self.steps):
            if status in _STOPPED:
                self.steps[position], self.losses[position] = _S.PENDING, 0
        self._free_next()
        return True

    def settle(self, position: int, status: StepStatus) -> bool:
        """Skip a step, or force its result: `status` is what that leads to."""
        stands = self.steps[position]
        if self.status in ALIVE:
            is_allowed = stands in {_S.READY, _S.WAITING}
        else:
            is_next = set(self.steps[:position]) <= _SETTLED
            is_allowed = stands in _STOPPED and is_next and self.retry()
        if not is_allowed:
            return False
        self.waits_for = None
        self._settle(position, status)
        return True

    def signal(self) -> bool:
        """Send the signal that its second step waits for, or will."""
        if self.status not in ALIVE | {_E.ENDING}:
            return False
        if self.steps[WAIT] is _S.WAITING and self.waits_for is None:
            self._settle(WAIT, _S.COMPLETED)
        else:
            self.kept += 1
        return True

    # what is held beside it

    def hold(self, target: Target) -> None:
        """Pause all of a plan, a tag, a queue or a dependency."""
        if target not in self.holds:
            self.holds.append(target)

    def lift(self, target: Target) -> None:
        """End that; what is parked goes on when a reconciler comes by."""
        if target in self.holds:
            self.holds.remove(target)

    def release(self) -> None:
        """Let a parked step go on that is held no more."""
        if self.waits_for is not None and self.waits_for not in self.holds:
            self.steps[self.steps.index(_S.WAITING)] = _S.READY
            self.waits_for = None

    # what workers do

    def claim(self, position: int, epoch: int) -> str:
        """Say what becomes of a step for a message of that epoch."""
        if self.steps[position] in _SETTLED and epoch == self.epoch and self._may_run():
            return "satisfied"
        may_start = self.status in {_E.PENDING, _E.RUNNING} and epoch == self.epoch
        if not may_start or self.steps[position] is not _S.READY:
            return "dropped"
        met = [
            (kind, name)
            for kind, name in self.holds
            if kind is not HoldKind.DEPENDENCY or position == USER
        ]
        if met:
            self.steps[position], self.waits_for = _S.WAITING, met[0]
            return "parked"
        self.status = _E.RUNNING
        self.steps[position] = _S.RUNNING
        return "claimed"

    def begin_wait(self) -> str:
        """Say what becomes of the second step, which runs, when it would wait."""
        if self.status not in {_E.RUNNING, _E.PAUSED}:
            return "refused"
        if not self.kept:
            self.steps[WAIT] = _S.WAITING
            return "waiting"
        self.kept -= 1
        self._settle(WAIT, _S.COMPLETED)
        return "ended"

    def complete(self, position: int) -> None:
        """End a running step with success."""
        self._settle(position, _S.COMPLETED)

    def fail(self, position: int) -> None:
        """End a running step for good, without success."""
        self.steps[position] = _S.FAILED
        if self.goal is None:
            self._begin_end(_E.FAILED)
        self._end_when_still()

    def give_back(self, position: int) -> bool:
        """Say whether a running step that yields begins again; if so, it may."""
        if self.goal is not None:
            return False
        self.steps[position] = _S.READY
        return True

    def lose(self, position: int) -> None:
        """Take a running step from a worker that is no more."""
        self.losses[position] += 1
        if self.losses[position] >= MOST_LOST or not self.give_back(position):
            self.fail(position)

    def _may_run(self) -> bool:
        return self.status in {_E.PENDING, _E.RUNNING, _E.ENDING}

    def _settle(self, position: int, status: StepStatus) -> None:
        self.steps[position] = status
        if self.goal is None:
            self._free_next()
        self._end_when_still()

    def _free_next(self) -> None:
        left = [n for n, status in enumerate(self.steps) if status not in _SETTLED]
        if not left:
            self._begin_end(_E.COMPLETED)
        elif self.steps[left[0]] is _S.PENDING:
            self.steps[left[0]] = _S.READY

    def _begin_end(self, goal: ExecutionStatus) -> None:
        self.status, self.goal, self.waits_for = _E.ENDING, goal, None
        self.steps = [_S.CANCELLED if s in UNSTARTED else s for s in self.steps]
        self._end_when_still()

    def _end_when_still(self) -> None:
        if self.goal is not None and _S.RUNNING not in self.steps:
            self.status = self.goal
