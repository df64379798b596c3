"""How our own code reaches the ground and the queue of a rehearsal: as in production.

The database, the repository and the dispatcher are the real ones but for the connection
below the one and the transport below the other. What a killed worker still tries goes
through none of them: a process that is no more writes and sends nothing.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from celery import Celery
from psycopg2.extensions import connection as Connection  # noqa: N812  # a class with a small name
from sqlalchemy.orm import Session

from ..database import Database
from ..dispatcher import ExecutionDispatcher, create_app
from ..errors import RehearsalError
from ..installation import Installation
from ..payloads import PayloadStore
from ..repository import ExecutionRepository
from ..ride import Delivery
from ..settings import Settings
from ..transactions import Transaction
from .ground import Ground, Rows


class ProcessKilledError(BaseException):
    """A process that is played here was killed: nothing of it goes on.

    No `Exception`, so that no code takes it for an error that it could live with.
    """


@dataclass
class Life:
    """Whether a process that is played here still lives."""

    is_over: bool = False

    def end(self) -> ProcessKilledError:
        """Let it be over; return what to raise."""
        self.is_over = True
        return ProcessKilledError("killed by the test")

    def require(self) -> None:
        """Raise ProcessKilledError once it is over."""
        if self.is_over:
            raise ProcessKilledError("a killed process tried to go on")


@dataclass(frozen=True)
class Message:
    """A delivery, the queue that it came by, and the links after it, the next last."""

    delivery: Delivery
    queue: str
    links: Sequence[Mapping[str, Any]]


@dataclass
class MessageQueue:
    """What was sent and is not taken yet, in the order in which it was sent."""

    messages: deque[Message] = field(default_factory=deque)

    def put(self, chain: Sequence[Mapping[str, Any]]) -> None:
        """Take a chain, as the dispatcher builds them."""
        head, *rest = chain
        execution_id, positions, epoch = head["args"]
        options = head["options"]
        delivery = Delivery(options["task_id"], execution_id, tuple(positions), epoch)
        self.messages.append(Message(delivery, options["queue"], rest[::-1]))

    def take(self) -> Message | None:
        """Return the oldest message; None when there is none."""
        return self.messages.popleft() if self.messages else None


class GroundDatabase(Database):
    """Our Database on the connection of the tests, for one process that is played."""

    def __init__(self, ground: Ground, life: Life) -> None:
        """Call on `ground`, as long as there is `life`."""
        super().__init__(ground.url, ground.schema)
        self._ground = ground
        self._life = life

    def query(self, statement: str, arguments: Sequence[object] = ()) -> Rows:
        """Run one statement of our own, whole or not at all."""
        self._life.require()
        return super().query(statement, arguments)

    def wait_for_notice(
        self, channel: str, seconds: float, stirred: int | None = None
    ) -> bool:
        """Hear nothing: notices come with commits."""
        return False

    def close(self) -> None:
        """Leave the connection to those who share it."""

    @contextmanager
    def _lend(self) -> Iterator[Connection]:
        with self._ground.savepoint() as connection:
            yield connection


class GroundRepository(ExecutionRepository):
    """Our repository on the connection of the tests."""

    def __init__(self, ground: Ground, life: Life, payloads: PayloadStore) -> None:
        """Read and write on `ground`."""
        super().__init__(ground.url, ground.schema, payloads)
        self._ground = ground
        self._database = GroundDatabase(ground, life)

    def _open_session(self) -> Session:
        return Session(
            self._ground.connection, join_transaction_mode="create_savepoint"
        )

    @contextmanager
    def _reading(self) -> Iterator[Session]:
        with self._ground.lock, super()._reading() as session:
            yield session

    def _call_within(
        self, transaction: Transaction, function: str, *arguments: object
    ) -> Mapping[str, Any]:
        ours = self._ground.connection
        bind = transaction.get_bind() if isinstance(transaction, Session) else None
        if ours not in (transaction, bind):
            raise RehearsalError(
                "a transaction of another connection cannot see the schema of the"
                " tests; join theirs: with plans.transaction() as session: …"
            )
        return super()._call_within(transaction, function, *arguments)


class QueueDispatcher(ExecutionDispatcher):
    """Our dispatcher, whose transport is a queue of the test's process."""

    def __init__(self, app: Celery, queue: MessageQueue, life: Life) -> None:
        """Send to `queue`, as long as there is `life`."""
        super().__init__(app)
        self._queue = queue
        self._life = life

    def _send_chains(self, chains: Sequence[Sequence[Mapping[str, Any]]]) -> bool:
        self._life.require()
        for chain in chains:
            self._queue.put(chain)
        return True


@dataclass(frozen=True)
class Surroundings:
    """What all processes of a rehearsal have in common."""

    ground: Ground
    settings: Settings
    queue: MessageQueue
    app: Celery

    @classmethod
    def build(cls, ground: Ground, settings: Settings) -> "Surroundings":
        """Return those of a new rehearsal."""
        return cls(ground, settings, MessageQueue(), create_app(settings))


@dataclass(frozen=True)
class GroundInstallation(Installation):
    """What an engine reaches the rehearsal with; `life` is that of its process."""

    around: Surroundings = field(kw_only=True)
    life: Life = field(kw_only=True)

    def open_database(self) -> Database:
        """Return what functions are called through."""
        return GroundDatabase(self.around.ground, self.life)

    def open_repository(self, payloads: PayloadStore) -> ExecutionRepository:
        """Return what executions are submitted, moved and read through."""
        return GroundRepository(self.around.ground, self.life, payloads)

    def build_dispatcher(self) -> ExecutionDispatcher:
        """Return what puts messages into the queue."""
        return QueueDispatcher(self.around.app, self.around.queue, self.life)
