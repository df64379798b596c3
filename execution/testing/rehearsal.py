"""What tests are given as `plans`: run a plan, fake actions, move time, kill workers.

The engine, the runner, the records and the reconciler are the real ones, on a real
PostgreSQL; only messages and time are the test's. What is done here is forgotten when
the test ends.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Self

from sqlalchemy.orm import Session

from ..actions import ActionSource, registry
from ..engine import ExecutionEngine
from ..faults import FaultPoint, watched
from ..identity import draw_execution_id
from ..plan import Plan
from ..settings import Settings
from .clock import Clock, read_seconds
from .fakes import (
    Conduct,
    Fake,
    Raised,
    RehearsedActions,
    read_raises,
    require_one_answer,
)
from .ground import Ground
from .kills import Kill, Kills
from .runs import PlanRun
from .stage import Stage
from .surroundings import (
    GroundInstallation,
    Life,
    ProcessKilledError,
    Surroundings,
)

_PLAN_ENDINGS = (".yaml", ".yml", ".json")


class Rehearsal:
    """The plans of one test; the fixture `plans` makes one."""

    def __init__(self, ground: Ground, settings: Settings) -> None:
        """Play on `ground`, in a block of `apart`, with `settings` for the rest."""
        self._ground = ground
        self._around = Surroundings.build(ground, settings)
        self._kills = Kills()
        self._stage = Stage(
            self._around, partial(RehearsedActions, registry), self._kills
        )
        self.clock = Clock(ground.read_clock, self._stage.pass_seconds)
        self.runs: list[PlanRun] = []
        self._producer = Life()
        self._engine: ExecutionEngine | None = None

    @classmethod
    @contextmanager
    def play(cls, ground: Ground, settings: Settings) -> Iterator[Self]:
        """Play in the block, and hear of every point that our code reaches in it."""
        played = cls(ground, settings)
        with watched(played._reach):
            yield played
        if played._engine is not None:
            played._engine.close()

    @property
    def engine(self) -> ExecutionEngine:
        """The engine, for all that it can do: pause, cancel, list, publish …"""
        if self._engine is None or self._producer.is_over:
            self._producer = Life()
            installation = GroundInstallation(
                self._around.settings, None, around=self._around, life=self._producer
            )
            self._engine = ExecutionEngine(installation)
        return self._engine

    # run

    def run(
        self,
        plan: Plan | Mapping[str, Any] | str | os.PathLike[str],
        parameters: Mapping[str, Any] | None = None,
        *,
        fast_forward: bool | None = None,
        **options: Any,
    ) -> PlanRun:
        """Submit a plan and let it run until it has ended, or nothing can go on.

        `plan` is a Plan, its document as a mapping or a text, the path of its file, or
        the name of a published one; `options` are those of `ExecutionEngine.submit`,
        which says what is raised. `fast_forward` is that of `PlanRun.go_on`.
        """
        run = self.submit(plan, parameters, **options)
        return run.go_on(fast_forward=fast_forward)

    def submit(
        self,
        plan: Plan | Mapping[str, Any] | str | os.PathLike[str],
        parameters: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> PlanRun:
        """Submit a plan as `run` does, and let nothing of it run yet."""
        # what there is has to be published before the plan is compared with it
        self._stage.find_worker()
        options = {"execution_id": draw_execution_id(), **options}
        found = read_plan(plan)
        try:
            execution_id = self.engine.submit(found, parameters, **options)
        except ProcessKilledError:
            # the program is no more, and what it had committed is there
            execution_id = options["execution_id"]
        return self.follow(execution_id)

    def follow(self, execution_id: str) -> PlanRun:
        """Return an execution that was submitted otherwise, for it to go on."""
        run = PlanRun(execution_id, self)
        self.runs.append(run)
        return run

    def publish(self, plan: Plan | Mapping[str, Any] | str | os.PathLike[str]) -> None:
        """Publish a plan, for other plans and for `run` to name."""
        self._stage.find_worker()
        found = read_plan(plan)
        self.engine.publish(found if isinstance(found, Plan) else Plan.from_text(found))

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Begin a transaction that `engine.submit(…, transaction=…)` can join."""
        with (
            self._ground.lock,
            Session(
                self._ground.connection, join_transaction_mode="create_savepoint"
            ) as session,
            session.begin(),
        ):
            yield session

    # actions

    def fake(
        self,
        action: str,
        function: Callable[..., Any] | None = None,
        *,
        returns: Any = None,
        raises: Raised | Iterable[Raised | None] | None = None,
        takes: str | float | timedelta = 0.0,
    ) -> Fake:
        """Let a fake stand for an action, or a Celery task, until the test ends.

        It answers what `function` does, or `returns`. `raises` is an exception, or one
        for each call in turn, None for a call that succeeds; after the last it
        succeeds. `takes` is how much time passes in a call. A function is called as
        the action is: with the inputs by name, after the context if it takes one.
        A recovery strategy is called `strategy:NAME`.

        Raises ActionRegistrationError for a name or a function that cannot be one, and
        RehearsalError for an answer that the action would never give.
        """
        in_turn, is_for_ever = read_raises(raises)
        conduct = Conduct(returns, function, in_turn, is_for_ever, read_seconds(takes))
        require_one_answer(conduct)
        return self._stage.actions.fake(action, conduct)

    def add_actions(self, source: ActionSource) -> None:
        """Let actions be found in `source` as well: see `use`."""
        self._stage.actions.add_source(source)

    def use(self, app: Any) -> None:
        """Let the tasks of a Celery app be actions, as its workers do.

        The modules that the app names are imported, as a worker does when it starts:
        `imports`, `include`, and what `autodiscover_tasks` finds.
        """
        from ..celery.tasks import TaskActions

        app.loader.import_default_modules()
        self.add_actions(TaskActions(app))

    # faults

    def kill_at(
        self, step: str | None = None, point: str = "called", *, times: int = 1
    ) -> Kill:
        """Let the worker vanish at a point of a step, as by `kill -9`.

        The points: `claimed`, before the action is called; `called`, after it has
        returned and before that is recorded; `completed`, after it is recorded and
        before anything follows. At `submitted`, without a step, it is the program that
        submits. Raises RehearsalError for a point that there is not.
        """
        return self._kills.arm(step, point, times)

    # for the fixture, and for runs

    def go_on(self, execution_id: str, *, fast_forward: bool | None) -> str | None:
        """Let an execution go on; return what stands in its way, if anything does."""
        if fast_forward is None:
            fast_forward = not self.clock.stands_still
        obstacle = self._stage.run(
            lambda: self.engine.get_status(execution_id).status,
            fast_forward=fast_forward,
        )
        if obstacle is not None and self.engine.get_status(execution_id).waits_for_key:
            return "it waits for its concurrency key, which others have"
        return obstacle

    def read_values(self, execution_id: str) -> Mapping[str, tuple[Any, Any]]:
        """Return the inputs and the result of each step."""
        return self._ground.read_values(execution_id)

    def _reach(self, point: FaultPoint) -> None:
        if point is FaultPoint.SUBMITTED:
            if self._kills.strike(point, None):
                raise self._producer.end()
        else:
            self._stage.reach(point)


def read_plan(plan: Plan | Mapping[str, Any] | str | os.PathLike[str]) -> Plan | str:
    """Return a plan as the engine takes it: a Plan, or the name of one.

    Raises PlanValidationError with every fault.
    """
    match plan:
        case Plan():
            return plan
        case Mapping():
            return Plan.from_mapping(plan)
        case str() if "\n" in plan:
            return Plan.from_text(plan)
        case str() if Path(plan).suffix not in _PLAN_ENDINGS:
            return plan
        case str() | os.PathLike():
            return Plan.from_file(plan)
