"""What `plans doctor` looks at, as it was seen: frozen values, without a judgement.

Must not know where they come from, nor what follows from them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class SettingFacts:
    """A setting of the Celery app that works against plans; `severity` as it says."""

    setting: str
    value: str
    severity: str
    effect: str
    fix: str


@dataclass(frozen=True)
class ProgramFacts:
    """This program: what it runs with, and by which settings."""

    python: str
    release: str
    revision: str
    functions: str
    libraries: Mapping[str, str]
    requirements: tuple[str, ...]
    queue: str
    lease_seconds: float
    has_hints: bool = True
    payloads_are_local: bool = False
    app_settings: tuple[SettingFacts, ...] = ()


@dataclass(frozen=True)
class AwayFacts:
    """A server that did not answer, or refused, and what was said."""

    cause: str


@dataclass(frozen=True)
class ClockFacts:
    """How far a server's clock is ahead of ours, and how exactly that is known."""

    ahead_seconds: float
    round_trip_seconds: float


@dataclass(frozen=True)
class SchemaFacts:
    """What is installed in the database; None: nothing is."""

    revision: str | None
    functions: str | None


@dataclass(frozen=True)
class ConnectionFacts:
    """A limit of connections, and how many there are; -1 is no limit."""

    setting: str
    used: int
    most: int


@dataclass(frozen=True)
class PostgresFacts:
    """A PostgreSQL, as our role sees it.

    `settings` are as `pg_settings` has them: times are milliseconds. `schema` is None
    where our role may not look.
    """

    version: int
    role: str
    is_standby: bool
    settings: Mapping[str, str]
    limits: tuple[ConnectionFacts, ...]
    missing_rights: tuple[str, ...]
    clock: ClockFacts
    schema_name: str
    schema: SchemaFacts | None


@dataclass(frozen=True)
class RedisFacts:
    """A Redis or Valkey; None is what it does not say to us."""

    run_id: str | None = None
    product: str | None = None
    version: str | None = None
    role: str | None = None
    policy: str | None = None
    used_bytes: int | None = None
    most_bytes: int | None = None
    is_kept: bool | None = None
    clock: ClockFacts | None = None
    refusals: tuple[str, ...] = ()


@dataclass(frozen=True)
class MessageFacts:
    """A message of a step: which steps it could run, the first one first."""

    queue: str
    execution_id: str
    positions: tuple[int, ...]
    epoch: int


@dataclass(frozen=True)
class QueueFacts:
    """What the broker has in a queue.

    `messages` counts all, `read` those that were looked at. `consumers` is None where
    the broker cannot tell.
    """

    name: str
    messages: int
    read: int
    consumers: int | None = None

    @property
    def is_read_wholly(self) -> bool:
        """Whether every message of it was looked at."""
        return self.read >= self.messages


@dataclass(frozen=True)
class BrokerFacts:
    """A broker that answers, and what lies in its queues.

    `redis` is None where it is none. `messages` are those of steps that were read; also
    those that were delivered and are kept until they are acknowledged: `kept_are_read`
    says whether all of these were.
    """

    product: str
    version: str
    redis: RedisFacts | None = None
    queues: tuple[QueueFacts, ...] = ()
    messages: tuple[MessageFacts, ...] = ()
    refusals: tuple[str, ...] = ()
    kept_are_read: bool = True


@dataclass(frozen=True)
class HeldMessage:
    """A message that a worker runs, or has reserved."""

    execution_id: str
    step: str
    epoch: int
    hostname: str


@dataclass(frozen=True)
class AnswerFacts:
    """What workers answered when they were asked over Celery what they hold."""

    hostnames: frozenset[str] = frozenset()
    held: tuple[HeldMessage, ...] = ()


@dataclass(frozen=True)
class WorkerFacts:
    """A worker that signed on and was not declared dead.

    `release`, `functions` and `lease_seconds` are as it told, None where it has not.
    `has_told` says that it has beaten.
    """

    id: str
    hostname: str
    queues: tuple[str, ...]
    beat_age_seconds: float
    look_age_seconds: float | None = None
    has_told: bool = False
    release: str | None = None
    functions: str | None = None
    lease_seconds: float | None = None


@dataclass(frozen=True)
class DueFacts:
    """Steps that are due: of one queue and action, and who could run them."""

    queue: str
    action: str
    steps: int
    oldest_seconds: float
    serving: int
    able: int
    first: tuple[str, ...] = ()


@dataclass(frozen=True)
class SentStep:
    """A ready step that PostgreSQL has sent, so many times, the last time then."""

    execution_id: str
    position: int
    step: str
    queue: str
    epoch: int
    publishes: int
    sent_seconds: float

    @property
    def key(self) -> tuple[str, int, int, int]:
        """Return what stays the same while nobody claims it, or sends it again."""
        return *self.place, self.publishes

    @property
    def place(self) -> tuple[str, int, int]:
        """Return what a message for it names."""
        return self.execution_id, self.position, self.epoch

    def __str__(self) -> str:
        """Return how it is named to people."""
        return f"{self.execution_id} {self.step}"


@dataclass(frozen=True)
class StrayStep:
    """A step that does not stand as it should, for so long, and why."""

    execution_id: str
    step: str
    seconds: float
    cause: str = ""
    worker: str | None = None

    def __str__(self) -> str:
        """Return how it is named to people."""
        return f"{self.execution_id} {self.step}"


@dataclass(frozen=True)
class NeededAction:
    """What steps that come later need, and no living worker has."""

    queue: str
    action: str


@dataclass(frozen=True)
class MessageTarget:
    """How a step stands that a message is for; None where it is not there."""

    step_status: str | None
    execution_status: str | None
    epoch: int | None


@dataclass(frozen=True)
class StandingFacts:
    """What PostgreSQL wants to happen, and what it says that happens.

    Of each kind at most so many are looked at; `cut` names the fields of those of which
    there may be more.
    """

    workers: tuple[WorkerFacts, ...] = ()
    due: tuple[DueFacts, ...] = ()
    sent: tuple[SentStep, ...] = ()
    lost: tuple[StrayStep, ...] = ()
    taken: tuple[StrayStep, ...] = ()
    overdue: tuple[StrayStep, ...] = ()
    unwoken: tuple[StrayStep, ...] = ()
    unsent: tuple[str, ...] = ()
    unfinished: tuple[str, ...] = ()
    stuck: tuple[str, ...] = ()
    needed: tuple[NeededAction, ...] = ()
    unused_queues: tuple[str, ...] = ()
    cut: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Observations:
    """All that was seen. What was not looked at, for a server was away, is None.

    `still_sent` are the steps of `standing` that were sent and still wait, when all
    else had been looked at. `targets` are how the steps of the broker's messages
    stand: of each message, of each of its positions.
    """

    program: ProgramFacts
    postgres: PostgresFacts | AwayFacts
    broker: BrokerFacts | AwayFacts
    hints: RedisFacts | AwayFacts | None = None
    standing: StandingFacts | None = None
    answers: AnswerFacts | None = None
    still_sent: frozenset[SentStep] = frozenset()
    targets: Mapping[MessageFacts, tuple[MessageTarget, ...]] = field(
        default_factory=dict
    )
