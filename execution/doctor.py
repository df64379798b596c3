"""Looks at a whole installation, says what is wrong, and mends what is safe to mend.

    look            program ─ PostgreSQL ─ broker ─ workers ─ PostgreSQL once more
    judge           `diagnosis`, from what was seen alone
    mend            `mending`, if that is asked for; then look and judge again

Promises: a server that is away is seen, and no error; looking changes nothing.
"""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

from celery import Celery

from .celery.broker_looks import ask_workers, look_at_broker
from .celery.host_report import find_settings
from .celery.host_settings import HostSettings, load_app
from .database import Database
from .diagnosis.facts import (
    AwayFacts,
    BrokerFacts,
    Observations,
    PostgresFacts,
    ProgramFacts,
    RedisFacts,
    SentStep,
    SettingFacts,
    StandingFacts,
)
from .diagnosis.findings import MOST_IDS, Finding, count
from .diagnosis.fleet import list_living
from .diagnosis.intents import find_missing
from .diagnosis.judging import judge, list_limits
from .diagnosis.programs import split_requirement
from .diagnosis_records import DiagnosisRecords
from .dispatcher import create_app
from .errors import DatabaseError
from .installation import name_broker, open_installation
from .mending import Deed, Mender
from .redis_facts import look_at_redis
from .release import find_python, find_release, find_versions, list_requirements
from .settings import Settings
from .sql import SCHEMA_REVISION, functions_digest

MOST_MESSAGES = 10_000
"""How many messages of each queue are read, the oldest first."""
MOST_ROWS = 1_000
"""How many steps, executions and workers of each kind are read."""
MOST_ROUNDS = 100
"""How often it is looked for missing messages, and sent, before it is enough."""

ANSWER_SECONDS = 2.0
"""How long workers may take to say what they hold."""


@dataclass(frozen=True)
class Diagnosis:
    """What was found, what was not looked at, and what was done about it."""

    findings: tuple[Finding, ...]
    limits: tuple[str, ...]
    done: tuple[Deed, ...] = ()


@contextmanager
def open_doctor(
    settings: Settings, app_name: str | None = None, *, most_messages: int
) -> Iterator["Doctor"]:
    """Give a doctor for what `settings` name, or the local stack.

    The app that `app_name` names, if any, is what messages go by. Raises SettingsError
    when there is none, or a server is not named.
    """
    app = None if app_name is None else load_app(app_name)
    installation = open_installation(
        settings if app is None else name_broker(settings, app)
    )
    with (
        closing(installation),
        closing(
            Doctor(installation.settings, app, most_messages=most_messages)
        ) as doctor,
    ):
        yield doctor


class Doctor:
    """Looks at the installation that settings name, and mends it."""

    def __init__(
        self,
        settings: Settings,
        app: Celery | None = None,
        *,
        most_messages: int = MOST_MESSAGES,
        most_rows: int = MOST_ROWS,
        most_rounds: int = MOST_ROUNDS,
        answer_seconds: float = ANSWER_SECONDS,
        now: Callable[[], float] = time.time,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        """Look at what `settings` name; messages go by `app`, or as ours sends them.

        Of each queue `most_messages` are read, of PostgreSQL `most_rows` of each kind;
        missing messages are sent in `most_rounds` at most. Workers may take
        `answer_seconds` to say what they hold. `now()` is the clock of this host,
        `wait(seconds)` lets time pass.
        """
        assert settings.database_url is not None  # noqa: S101  # an installation has every URL
        self._settings = settings
        self._app = app or create_app(settings)
        self._most_messages = most_messages
        self._most_rows = most_rows
        self._most_rounds = most_rounds
        self._answer_seconds = answer_seconds
        self._now = now
        self._database = Database(settings.database_url, settings.schema)
        self._records = DiagnosisRecords(self._database, settings.schema, now)
        self._mender = Mender(settings, self._database, self._app, wait)

    def close(self) -> None:
        """Close the connections."""
        self._database.close()
        self._app.close()

    def examine(self, *, mends: bool = False) -> Diagnosis:
        """Look at everything, and mend first if that is asked for; return what is left.

        Raises nothing for servers that are away: each is a finding.
        """
        seen = self.look()
        if not mends or seen.standing is None:
            return Diagnosis(judge(seen), list_limits(seen))
        seen, done, left = self._mend(seen)
        return Diagnosis(judge(seen), (*left, *list_limits(seen)), _add_up(done))

    def _mend(
        self, seen: Observations
    ) -> tuple[Observations, tuple[Deed, ...], tuple[str, ...]]:
        """Mend round by round, for there may be more than is read at once.

        Each step is sent once, whatever becomes of its message. Returns what is seen
        then, what was done, and what was left.
        """
        done: tuple[Deed, ...] = ()
        left: dict[str, None] = {}
        tried: set[tuple[str, int, int]] = set()
        for _ in range(self._most_rounds):
            missing = [one for one in find_missing(seen) if one.place not in tried]
            if tried and not missing:
                break
            mending = self._mender.mend(seen, missing)
            done += mending.done
            left |= dict.fromkeys(mending.left)
            tried |= {one.place for one in mending.tried}
            seen = self.look()
            if mending.has_failed or not missing:
                return seen, done, tuple(left)
            if len(mending.tried) < len(missing):
                # the broker has begun to refuse
                break
        return seen, done, (*left, *_say_what_remains(find_missing(seen), tried))

    # look

    def look(self) -> Observations:
        """Return all that there is to see; a server that is away is seen as such."""
        program = self._look_at_program()
        postgres, standing = self._look_at_postgres(program)
        queues = {self._settings.queue}
        if standing is not None:
            queues |= {queue for worker in standing.workers for queue in worker.queues}
            queues |= {due.queue for due in standing.due}
        broker = look_at_broker(
            self._app, queues, most_messages=self._most_messages, now=self._now
        )
        seen = Observations(program, postgres, broker, self._look_at_hints(), standing)
        if standing is None or isinstance(broker, AwayFacts):
            return seen
        return self._look_once_more(seen, standing, broker)

    def _look_at_program(self) -> ProgramFacts:
        requirements = list_requirements()
        names = tuple(name for name, _ in map(split_requirement, requirements) if name)
        settings = self._settings
        host = HostSettings.of_app(self._app, settings)
        return ProgramFacts(
            python=find_python(),
            release=find_release(),
            revision=SCHEMA_REVISION,
            functions=functions_digest(),
            libraries=find_versions(names),
            requirements=requirements,
            queue=settings.queue,
            lease_seconds=settings.lease_seconds,
            has_hints=settings.events_url is not None,
            payloads_are_local="://" not in settings.payloads_url
            and settings.payloads is None,
            app_settings=tuple(
                SettingFacts(f.setting, f.value, f.severity, f.effect, f.fix)
                for f in find_settings(host)
            ),
        )

    def _look_at_postgres(
        self, program: ProgramFacts
    ) -> tuple[PostgresFacts | AwayFacts, StandingFacts | None]:
        try:
            postgres = self._records.read_server()
            schema = postgres.schema
            if schema is None or schema.functions != program.functions:
                # what is to be asked may not be there, or mean something else
                return postgres, None
            return postgres, self._read_standing()
        except DatabaseError as error:
            return AwayFacts(str(error)), None

    def _read_standing(self) -> StandingFacts:
        settings = self._settings
        return self._records.read_standing(
            lease_seconds=settings.lease_seconds,
            # reconcilers had two turns by then
            grace_seconds=2 * settings.beat_seconds,
            most=self._most_rows,
        )

    def _look_at_hints(self) -> RedisFacts | AwayFacts | None:
        url = self._settings.events_url
        return None if url is None else look_at_redis(url, self._now)

    def _look_once_more(
        self, seen: Observations, standing: StandingFacts, broker: BrokerFacts
    ) -> Observations:
        living = list_living(standing, seen.program)
        answers = ask_workers(
            self._app,
            [worker.hostname for worker in living],
            timeout_seconds=self._answer_seconds,
        )
        try:
            targets = self._records.list_targets(broker.messages)
            later = {step.key for step in self._read_standing().sent}
        except DatabaseError as error:
            return replace(seen, postgres=AwayFacts(str(error)), standing=None)
        return replace(
            seen,
            answers=answers,
            targets=targets,
            still_sent=frozenset(s for s in standing.sent if s.key in later),
        )


def _say_what_remains(
    missing: Sequence[SentStep], tried: Collection[tuple[str, int, int]]
) -> Iterator[str]:
    gone = sum(one.place in tried for one in missing)
    if gone:
        yield (
            f"{count(gone, 'message')} sent again just now and gone once more, so no"
            " further one was sent: another installation may take them from the queue"
        )
    if rest := len(missing) - gone:
        yield (
            f"{count(rest, 'message')} still to be sent again, after as many rounds as"
            " are made at once, or a broker that refused; plans doctor --fix goes on"
        )


def _add_up(done: tuple[Deed, ...]) -> tuple[Deed, ...]:
    """Return of each act one deed."""
    added: dict[str, Deed] = {}
    for deed in done:
        known = added.get(deed.act, Deed(deed.act, 0))
        ids = (*known.ids, *deed.ids)[:MOST_IDS]
        added[deed.act] = Deed(deed.act, known.count + deed.count, ids)
    return tuple(added.values())
