"""Lets executions go on in the test's process, until they end or nothing can go on.

It hands one message after the other to a worker, lets it reconcile when there is none,
and moves the clock to what comes next when there is nothing to mend. A worker that is
killed on the way is followed by another one.
"""

from collections.abc import Callable, Sequence

from ..built_in import BUILT_IN_ACTIONS
from ..durations import write_duration
from ..errors import RehearsalError
from ..faults import FaultPoint
from ..states import ExecutionStatus, StepStatus, is_terminal
from .fakes import RehearsedActions
from .ground import Ground, OpenStep
from .kills import Kills
from .surroundings import ProcessKilledError, Surroundings
from .worker import RehearsedWorker

_MOST_IDLE_TICKS = 500
"""How many ticks may pass without anything: a message that is missed is sent again five
minutes later at most."""
_INSTANT_SECONDS = 0.001


class Stage:
    """The worker of one rehearsal, and the time that passes in it."""

    def __init__(
        self,
        around: Surroundings,
        build_actions: Callable[[Callable[[float], None]], RehearsedActions],
        kills: Kills,
    ) -> None:
        """Play on `around`; time passes for the actions that `build_actions` makes."""
        self._around = around
        self._ground: Ground = around.ground
        self._kills = kills
        self._queues = {around.settings.queue}
        self._worker: RehearsedWorker | None = None
        self._idle_ticks = 0
        self.actions = build_actions(self.pass_seconds)

    def find_worker(self) -> RehearsedWorker:
        """Return the worker that lives; it has published what actions there are."""
        worker = self._worker
        if worker is not None and not worker.is_running and self._is_outdated(worker):
            worker.end()
            worker = None
        if worker is None:
            worker = RehearsedWorker(
                self._around, self.actions, self._queues, self.pass_seconds
            )
            self._worker = worker
        return worker

    def run(
        self, ask_status: Callable[[], ExecutionStatus], *, fast_forward: bool
    ) -> str | None:
        """Go on until an execution has ended; return what stands in the way, or None.

        With `fast_forward` the clock is moved to the next timer whenever nothing else
        is left to do.
        """
        if self._worker is not None and self._worker.is_running:
            raise RehearsalError(
                "an action cannot wait for an execution: the worker that would run it"
                " is busy with the action; submit it, and let it go on afterwards"
            )
        self._idle_ticks = 0
        while not is_terminal(status := ask_status()):
            if self._step() or not self.find_worker().look().is_idle:
                self._idle_ticks = 0
                continue
            obstacle = _find_pause(status) or self._wait(fast_forward)
            if obstacle is not None:
                return obstacle
        return None

    def pass_seconds(self, seconds: float) -> None:
        """Let time pass, and those be noticed whose lease runs out meanwhile.

        Raises StepTimeoutError in code that is called, if its attempt is overdue then.
        """
        worker = self._worker
        if worker is not None and worker.is_running:
            self._ground.move_clock(seconds)
            worker.raise_if_overdue()
            return
        settings = self._around.settings
        left = seconds
        ticks = 2 * settings.lease_seconds / settings.tick_seconds
        while left > settings.tick_seconds and ticks > 0 and self._has_lost_step():
            self._ground.move_clock(settings.tick_seconds)
            self.find_worker().look()
            left -= settings.tick_seconds
            ticks -= 1
        self._ground.move_clock(left)

    def reach(self, point: FaultPoint) -> None:
        """Kill the worker if it was to be killed at this point of the step it runs."""
        worker = self._worker
        if worker is None or not worker.board.tokens or not self._kills.waits_at(point):
            return
        tokens = worker.board.tokens
        # once a step is recorded, the token of the next one may be shown beside its own
        is_over = point is FaultPoint.COMPLETED
        step = self._ground.find_step(tokens[0] if is_over else tokens[-1])
        if self._kills.strike(point, step):
            raise worker.life.end()

    def _is_outdated(self, worker: RehearsedWorker) -> bool:
        return worker.published != self.actions.describe_version()

    def _step(self) -> bool:
        message = self._around.queue.take()
        if message is None:
            return False
        worker = self.find_worker()
        try:
            worker.handle(message)
        except ProcessKilledError:
            # nobody signs it off: it is found by its lease, as in production
            worker.life.end()
            self._worker = None
        return True

    def _wait(self, fast_forward: bool) -> str | None:
        """Let time pass that nobody works in; return what stands in the way instead."""
        steps = self._ground.list_open_steps()
        missing = next(filter(self._is_missing, steps), None)
        if missing is not None:
            return (
                f"step {missing.name} needs the action {missing.action}, which is not"
                " registered: import its module, or plans.fake() it"
            )
        seconds = self._find_idle_seconds(steps)
        if seconds is None:
            return "nothing is left to run, and nothing to wait for"
        if not fast_forward:
            return f"the clock stands still, and {_describe_wait(steps, seconds)}"
        self._idle_ticks += 1
        if self._idle_ticks > _MOST_IDLE_TICKS:
            return f"nothing happens, and {_describe_wait(steps, seconds)}"
        self._ground.move_clock(seconds)
        return None

    def _find_idle_seconds(self, steps: Sequence[OpenStep]) -> float | None:
        """Return how soon there may be something to do; None: never."""
        timer = self._ground.find_next_timer()
        seconds = None
        if timer is not None:
            wait = timer - self._ground.read_clock()
            seconds = max(wait.total_seconds(), 0.0) + _INSTANT_SECONDS
        if any(step.status != StepStatus.WAITING for step in steps):
            # lost with its worker, or its message is: both are found by looking
            tick_seconds = self._around.settings.tick_seconds
            return tick_seconds if seconds is None else min(seconds, tick_seconds)
        return seconds

    def _is_missing(self, step: OpenStep) -> bool:
        if step.status != StepStatus.READY or step.action in BUILT_IN_ACTIONS:
            return False
        try:
            self.actions.get(step.action)
        except KeyError:
            return True
        return False

    def _has_lost_step(self) -> bool:
        steps = self._ground.list_open_steps()
        return any(step.status == StepStatus.RUNNING for step in steps)


def _find_pause(status: ExecutionStatus) -> str | None:
    return "it is paused" if status is ExecutionStatus.PAUSED else None


def _describe_wait(steps: Sequence[OpenStep], seconds: float) -> str:
    if not steps:
        return f"a deadline comes in {_write(seconds)}"
    step = steps[0]
    match StepStatus(step.status):
        case StepStatus.RUNNING:
            return f"step {step.name} is held by a worker that was killed"
        case StepStatus.READY:
            return f"the message of step {step.name} is lost"
        case _:
            return f"step {step.name} waits for {_write(seconds)}, until {step.wake_at}"


def _write(seconds: float) -> str:
    return write_duration(seconds if seconds < 1 else round(seconds))
