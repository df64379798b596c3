"""Races: calls that are made at the same moment, each on a connection of its own.

`run_at_once` begins calls together. An `Arena` makes them meet: in most rounds it
holds the rows that they are about, and lets go when each of them has ended or waits
for a lock; in the others they run freely. A race is a function of an arena that plays
one round and asserts what must hold; `count_wrong_rounds` plays it many times.

Nothing sleeps. What is left to chance is drawn from a seed, which is logged with every
round that went wrong.
"""

import json
import logging
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, TypeVar

from execution import ExecutionEngine, ExecutionRepository, Plan, Settings, StepStatus
from execution.answers import ClaimAnswer, Completion, HeldStep
from execution.database import Database
from execution.errors import PlansError
from execution.installation import Installation
from execution.liveness import LivenessRecords
from execution.records import StepRecords
from tests.beating import beat
from tests.rows import connect

_T = TypeVar("_T")
_First = TypeVar("_First")
_Second = TypeVar("_Second")

logger = logging.getLogger(__name__)

_MOST_CONTENDERS = 3
_PATIENCE_SECONDS = 8.0
"""Less than the lock timeout of the connections: who never waits is found first."""
ROW_GATES = (
    None,
    "SELECT FROM executions WHERE id = %s FOR UPDATE",
    "SELECT FROM execution_steps WHERE execution_id = %s FOR UPDATE",
)
"""What is held until the contenders wait: nothing, the execution, or its steps."""


def run_at_once(calls: Sequence[Callable[[], _T]]) -> list[_T]:
    """Return what the calls answer, in their order; raises what one of them raises."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], _T]) -> _T:
        barrier.wait(60)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


class Arena:
    """Contenders with connections of their own, and a holder of the rows they want."""

    def __init__(self, settings: Settings, seed: int) -> None:
        """Race in the schema of `settings`, with the chances of `seed`."""
        url = str(settings.database_url)
        self.settings = settings
        self.seed = seed
        self.random = random.Random(seed)
        # one for all threads: it gives each of them a connection
        self.database = Database(url, settings.schema)
        self.records = StepRecords(self.database)
        self.liveness = LivenessRecords(self.database)
        self.repository = ExecutionRepository(url, settings.schema)
        self.engine = ExecutionEngine(Installation(settings, None))
        self._pool = ThreadPoolExecutor(_MOST_CONTENDERS)
        self._holder = connect(url, settings.schema)
        self.enter_worker()

    def close(self) -> None:
        """End the contenders and close every connection."""
        self._pool.shutdown()
        self._holder.close()
        self.engine.close()
        self.repository.close()
        self.database.close()

    # what is raced over

    def enter_worker(self, actions: str = '[{"name": "test.nothing"}]') -> None:
        """Go on in the name of a new worker, with a queue that nobody has used."""
        self.worker_id = str(uuid.uuid4())
        self.queue = f"queue-{self.worker_id}"
        self.liveness.register_worker(
            self.worker_id,
            hostname="by-hand",
            pid=1,
            pool="none",
            slots=8,
            queues=[self.queue],
            actions=actions,
        )

    def lose_all(self) -> None:
        """Beat as a worker that holds nothing: what it has claimed so far is lost."""
        beat(self.database, self.worker_id, [self.queue])

    def submit(self, plan: Plan) -> str:
        """Store an execution; nothing is sent."""
        return self.repository.submit(plan, {}, queue=self.queue).execution_id

    def try_claim(self, execution_id: str, position: int = 0) -> ClaimAnswer:
        """Claim a step under a token of its own."""
        return self.records.claim(
            execution_id,
            [position],
            epoch=1,
            token=str(uuid.uuid4()),
            worker_id=self.worker_id,
            delivery="by-hand",
        )

    def claim(self, execution_id: str, position: int = 0) -> HeldStep:
        """Claim a step that nobody else wants."""
        answer = self.try_claim(execution_id, position)
        assert answer.claim is not None, answer
        return answer.claim.held

    def complete(self, held: HeldStep, result: object = None) -> Completion:
        """Record that a step has succeeded."""
        return self.records.complete(
            held, StepStatus.COMPLETED, result=json.dumps(result), epoch=1
        )

    def read_step(self, execution_id: str, position: int = 0) -> dict[str, Any]:
        """Return a step's row, and how many of its attempts were archived."""
        (row,) = self.database.query(
            "SELECT s.*, (SELECT count(*) FROM {schema}.step_attempts a"
            '  WHERE a.execution_id = s.execution_id AND a."position" = s."position"'
            " ) AS archived FROM {schema}.execution_steps s"
            ' WHERE s.execution_id = %s AND s."position" = %s',
            (execution_id, position),
        )
        return row

    # how

    def race(
        self,
        calls: Sequence[Callable[[], _T]],
        *,
        over: str,
        gates: Sequence[str | None] = ROW_GATES,
    ) -> list[_T]:
        """Make the calls meet behind one of the gates; return what they answer.

        `over` is the one parameter of the gates. Raises, when all have ended, what the
        first of them raised.
        """
        barrier = threading.Barrier(len(calls))

        def run(call: Callable[[], _T]) -> _T:
            barrier.wait(60)
            return call()

        futures: dict[int, Future[_T]] = {}
        with self._holding(self.random.choice(gates), over) as is_held:
            for index in self.random.sample(range(len(calls)), len(calls)):
                futures[index] = self._pool.submit(run, calls[index])
            if is_held:
                self._await_contention(list(futures.values()))
        wait(futures.values())
        return [futures[index].result() for index in range(len(calls))]

    def race_pair(
        self, first: Callable[[], _First], second: Callable[[], _Second], *, over: str
    ) -> tuple[_First, _Second]:
        """Make two calls of different kinds meet."""
        calls: list[Callable[[], Any]] = [first, second]
        answers = self.race(calls, over=over)
        return answers[0], answers[1]

    @contextmanager
    def _holding(self, statement: str | None, over: str) -> Iterator[bool]:
        try:
            if statement is not None:
                with self._holder.cursor() as cursor:
                    cursor.execute(statement, (over,))
            yield statement is not None
        finally:
            self._holder.rollback()

    def _await_contention(self, contenders: Sequence[Future[Any]]) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            unfinished = sum(not contender.done() for contender in contenders)
            if self._count_waiting() >= unfinished:
                return
            assert time.monotonic() < deadline, "the contenders never met"

    def _count_waiting(self) -> int:
        statement = "SELECT count(DISTINCT pid) AS n FROM pg_locks WHERE NOT granted"
        return int(self.database.query(statement)[0]["n"])


Race = Callable[[Arena], None]


@contextmanager
def arena_of(settings: Settings) -> Iterator[Arena]:
    """Give an arena with a seed of its own."""
    arena = Arena(settings, random.SystemRandom().randrange(2**32))
    try:
        yield arena
    finally:
        arena.close()


def count_wrong_rounds(race: Race, arena: Arena, rounds: int) -> int:
    """Play so many rounds; return how many went wrong, and log why."""
    wrong = 0
    for number in range(rounds):
        try:
            race(arena)
        except (AssertionError, PlansError) as error:
            wrong += 1
            logger.warning("round %d, seed %d: %r", number, arena.seed, error)
    return wrong
