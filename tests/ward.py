"""An installation for `plans doctor` whose workers, if any, are only rows.

What nature would take long for is played by moving what was written into the past.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import redis

from execution import (
    ExecutionEngine,
    ExecutionStatus,
    Settings,
    StepStatus,
)
from execution.database import Database
from execution.diagnosis.codes import FindingCode
from execution.diagnosis.findings import Finding
from execution.doctor import Diagnosis, Doctor
from execution.filters import ExecutionFilter
from execution.installation import Installation
from execution.liveness import LivenessRecords
from execution.records import StepRecords

LIVING = ExecutionFilter(status=(ExecutionStatus.PENDING, ExecutionStatus.RUNNING))


def examine(
    settings: Settings,
    *,
    mends: bool = False,
    messages: int = 99,
    answer_seconds: float = 5.0,
    **options: Any,
) -> Diagnosis:
    """Let a doctor look, and mend; `options` are those of `Doctor`."""
    doctor = Doctor(
        settings, most_messages=messages, answer_seconds=answer_seconds, **options
    )
    with closing(doctor):
        return doctor.examine(mends=mends)


def about(diagnosis: Diagnosis, code: FindingCode, named: str) -> Finding:
    """Return the finding of a code that names an id, or a queue."""
    found = [
        finding
        for finding in diagnosis.findings
        if finding.code is code
        and (named in finding.seen or any(named in one for one in finding.ids))
    ]
    assert len(found) == 1, diagnosis
    return found[0]


def is_found(diagnosis: Diagnosis, code: FindingCode, named: str) -> bool:
    return any(
        finding.code is code and any(named in one for one in finding.ids)
        for finding in diagnosis.findings
    )


@dataclass(frozen=True)
class Ward:
    """An installation without a worker, where a test plays what happens."""

    settings: Settings
    engine: ExecutionEngine
    database: Database
    liveness: LivenessRecords
    records: StepRecords

    def examine(self, *, mends: bool = False, **options: Any) -> Diagnosis:
        """Let a doctor look, and mend."""
        # none of these workers can answer
        return examine(self.settings, mends=mends, answer_seconds=0.1, **options)

    def let_pass(self, execution_id: str, *columns: str, seconds: float = 60.0) -> None:
        """Move what was written of the steps of an execution into the past."""
        for column in columns:
            self.database.query(
                f"UPDATE {{schema}}.execution_steps SET {column} = {column}"  # noqa: S608  # names of our own
                " - make_interval(secs => %s) WHERE execution_id = %s RETURNING 1",
                (seconds, execution_id),
            )

    def get_status(self, execution_id: str) -> StepStatus:
        """Return how the first step of an execution stands."""
        return self.engine.list_steps(execution_id)[0].status


@contextmanager
def open_ward(settings: Settings) -> Iterator[Ward]:
    """Give such an installation; what is left behind is cancelled."""
    with redis.Redis.from_url(str(settings.redis_url)) as client:
        client.delete(settings.queue)
    with (
        closing(Database(str(settings.database_url), settings.schema)) as database,
        ExecutionEngine(Installation(settings, None)) as engine,
    ):
        yield Ward(
            settings,
            engine,
            database,
            LivenessRecords(database),
            StepRecords(database),
        )
        for execution in engine.list_executions(LIVING).items:
            engine.cancel(execution.id)
        database.query(
            "UPDATE {schema}.workers SET ended_at = now(), end_reason = 'stopped'"
            " WHERE ended_at IS NULL RETURNING 1"
        )
