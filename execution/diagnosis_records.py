"""What `plans doctor` asks PostgreSQL: how the server is set up, and what it wants.

Reads only, and locks nothing. What of the server is asked needs no schema of ours; the
rest needs that of this release. What follows is decided in `diagnosis`.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from .database import Database
from .diagnosis.facts import (
    ClockFacts,
    ConnectionFacts,
    DueFacts,
    MessageFacts,
    MessageTarget,
    NeededAction,
    PostgresFacts,
    SchemaFacts,
    SentStep,
    StandingFacts,
    StrayStep,
    WorkerFacts,
)

_SETTINGS = (
    "default_transaction_isolation",
    "default_transaction_read_only",
    "fsync",
    "full_page_writes",
    "idle_session_timeout",
    "max_connections",
    "reserved_connections",
    "statement_timeout",
    "superuser_reserved_connections",
    "synchronous_commit",
    "transaction_timeout",
)
_WRITTEN = ("executions", "execution_steps", "execution_events", "workers")
"""What every worker writes to, where functions run with the caller's rights."""
_TO_LOOK = ("USAGE", "SELECT", "EXECUTE")

_MOST_POSITION = 2**31 - 1
_NOWHERE = MessageTarget(None, None, None)

_SERVER = """
SELECT current_setting('server_version_num')::int AS version, current_user AS role,
       pg_is_in_recovery() AS is_standby, clock_timestamp() AS now,
       (SELECT jsonb_object_agg(name, setting) FROM pg_settings
         WHERE name = ANY (%s)) AS settings,
       (SELECT sum(numbackends)::int FROM pg_stat_database) AS connections,
       (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user) AS role_most,
       (SELECT count(*)::int FROM pg_stat_activity
         WHERE usename = current_user) AS role_connections,
       (SELECT datconnlimit FROM pg_database
         WHERE datname = current_database()) AS database_most,
       (SELECT numbackends FROM pg_stat_database
         WHERE datname = current_database()) AS database_connections
"""
_INSTALLED = """
SELECT count(*) = 2 AS is_installed FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = %s AND c.relname IN ('alembic_version', 'installation')
"""
_SCHEMA = """
SELECT (SELECT version_num FROM {schema}.alembic_version) AS revision,
       (SELECT functions_digest FROM {schema}.installation) AS functions
"""
_LACKING = """
WITH place AS (SELECT oid, nspname FROM pg_namespace WHERE nspname = %s),
-- what runs with the rights of the schema's owner needs none of ours
direct AS (
    SELECT p.oid FROM pg_proc p JOIN place n ON n.oid = p.pronamespace
     WHERE p.proname IN ('claim_step', 'submit_execution') AND NOT p.prosecdef
       AND has_function_privilege(p.oid, 'EXECUTE'))
SELECT 'USAGE on schema ' || quote_ident(nspname) AS lacking FROM place
 WHERE NOT has_schema_privilege(oid, 'USAGE')
 UNION ALL
SELECT r.name || ' on ' || quote_ident(n.nspname) || '.' || quote_ident(c.relname)
  FROM pg_class c JOIN place n ON n.oid = c.relnamespace
 CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE']) AS r(name)
 WHERE c.relkind IN ('r', 'p')
   AND (r.name = 'SELECT' OR c.relname = ANY (%s) AND EXISTS (SELECT FROM direct))
   AND (r.name, c.relname) <> ('UPDATE', 'execution_events')
   AND NOT has_table_privilege(c.oid, r.name)
 UNION ALL
SELECT 'EXECUTE on ROUTINE ' || p.oid::regprocedure
  FROM pg_proc p JOIN place n ON n.oid = p.pronamespace
 WHERE p.proname IN ('read_diagnosis', 'diagnose_messages')
   AND NOT has_function_privilege(p.oid, 'EXECUTE')
"""


class DiagnosisRecords:
    """Asks through a connection of a worker's kind."""

    def __init__(
        self, database: Database, schema: str, now: Callable[[], float] = time.time
    ) -> None:
        """Ask through `database`, which is that of `schema`.

        `now` is the clock of this host, with which the server's is compared.
        """
        self._now = now
        self._database = database
        self._schema = schema

    def read_server(self) -> PostgresFacts:
        """Return how the server is set up, and what is installed in it.

        Raises DatabaseError when it does not answer, or refuses.
        """
        # the first question opens the connection, which would count as its way
        self._database.query("SELECT 1")
        begun = self._now()
        row = self._database.query(_SERVER, (list(_SETTINGS),))[0]
        ended = self._now()
        lacking = self._read_lacking()
        return PostgresFacts(
            version=row["version"],
            role=row["role"],
            is_standby=row["is_standby"],
            settings=row["settings"],
            limits=_read_limits(row),
            missing_rights=lacking,
            clock=_read_clock(row["now"], begun, ended),
            schema_name=self._schema,
            # whoever only cannot write may look all the same
            schema=None
            if any(right.startswith(_TO_LOOK) for right in lacking)
            else self._read_schema(),
        )

    def _read_lacking(self) -> tuple[str, ...]:
        rows = self._database.query(_LACKING, (self._schema, list(_WRITTEN)))
        return tuple(row["lacking"] for row in rows)

    def _read_schema(self) -> SchemaFacts:
        if not self._database.query(_INSTALLED, (self._schema,))[0]["is_installed"]:
            return SchemaFacts(None, None)
        found = self._database.query(_SCHEMA)[0]
        return SchemaFacts(found["revision"], found["functions"])

    def read_standing(
        self, *, lease_seconds: float, grace_seconds: float, most: int
    ) -> StandingFacts:
        """Return what PostgreSQL wants, and what it says that happens.

        All of one moment. Of each kind `most`; what reconcilers see to, once they had
        `grace_seconds`.
        """
        (row,) = self._database.read_moment(
            "SELECT {schema}.read_diagnosis(%s, %s, %s) AS told",
            (lease_seconds, grace_seconds, most),
        )
        return read_standing(row["told"], most)

    def list_targets(
        self, messages: Sequence[MessageFacts]
    ) -> Mapping[MessageFacts, tuple[MessageTarget, ...]]:
        """Return how the steps stand that messages are for, of each its positions."""
        # each once: the same message may be there twice
        pairs = list(
            {
                (one.execution_id, at): None
                for one in messages
                for at in one.positions
                if _can_be(at)
            }
        )
        if not pairs:
            return {one: (_NOWHERE,) * len(one.positions) for one in messages}
        rows = self._database.query(
            "SELECT * FROM {schema}.diagnose_messages(%s::uuid[], %s::int[])",
            ([pair[0] for pair in pairs], [pair[1] for pair in pairs]),
        )
        targets = dict(zip(pairs, (MessageTarget(**row) for row in rows), strict=True))
        return {
            one: tuple(
                targets.get((one.execution_id, at), _NOWHERE) for at in one.positions
            )
            for one in messages
        }


def _can_be(position: int) -> bool:
    """Say whether a step can have a position: another's message may name any."""
    return 0 <= position <= _MOST_POSITION


def read_standing(told: Mapping[str, Any], most: int) -> StandingFacts:
    """Return what `read_diagnosis` in SQL has read, of each kind `most`."""
    return StandingFacts(
        workers=tuple(map(_read_worker, told["workers"])),
        due=tuple(map(_read_due, told["due"])),
        sent=tuple(SentStep(*columns) for columns in told["sent"]),
        lost=_read_strays(told["lost"]),
        taken=_read_strays(told["taken"]),
        overdue=_read_strays(told["overdue"]),
        unwoken=_read_strays(told["unwoken"]),
        unsent=tuple(told["unsent"]),
        unfinished=tuple(told["unfinished"]),
        stuck=tuple(told["stuck"]),
        needed=tuple(NeededAction(*columns) for columns in told["needed"]),
        unused_queues=tuple(told["unused_queues"]),
        cut=_find_cut(told, most),
    )


def _find_cut(told: Mapping[str, Any], most: int) -> frozenset[str]:
    cut = {kind for kind, rows in told.items() if len(rows) >= most}
    # these are read whole
    cut -= {"cut", "unused_queues"}
    # of each queue so many are read, whatever their actions
    due: Counter[str] = Counter()
    for row in told["due"]:
        due[row["queue"]] += row["steps"]
    if max(due.values(), default=0) >= most:
        cut |= {"due", "sent"}
    return frozenset(cut | set(told["cut"]))


def _read_strays(rows: Sequence[Sequence[Any]]) -> tuple[StrayStep, ...]:
    return tuple(StrayStep(*columns) for columns in rows)


def _read_worker(row: Mapping[str, Any]) -> WorkerFacts:
    rounds = row["rounds"] or {}
    program = rounds.get("program") or {}
    return WorkerFacts(
        id=row["id"],
        hostname=row["hostname"],
        queues=tuple(row["queues"]),
        beat_age_seconds=row["beat_age"],
        # what it told was of the moment of its beat
        look_age_seconds=rounds["age"] + row["beat_age"] if "age" in rounds else None,
        has_told=row["rounds"] is not None,
        release=program.get("release"),
        functions=program.get("functions"),
        # a worker of an older release told it with its beats, or not at all
        lease_seconds=row["lease_seconds"] or program.get("lease_seconds"),
    )


def _read_due(row: Mapping[str, Any]) -> DueFacts:
    return DueFacts(
        queue=row["queue"],
        action=row["action"],
        steps=row["steps"],
        oldest_seconds=row["oldest"],
        serving=row["serving"],
        able=row["able"],
        first=tuple(row["first"]),
    )


def _read_limits(row: Mapping[str, Any]) -> tuple[ConnectionFacts, ...]:
    settings = row["settings"]
    # those that are kept for superusers are not ours
    most = int(settings["max_connections"]) - sum(
        int(settings.get(name, 0))
        for name in ("superuser_reserved_connections", "reserved_connections")
    )
    return (
        ConnectionFacts("max_connections", row["connections"] or 0, most),
        ConnectionFacts(
            f"the CONNECTION LIMIT of {row['role']}",
            row["role_connections"],
            row["role_most"],
        ),
        ConnectionFacts(
            "the CONNECTION LIMIT of the database",
            row["database_connections"],
            row["database_most"],
        ),
    )


def _read_clock(now: datetime, begun: float, ended: float) -> ClockFacts:
    middle = datetime.fromtimestamp((begun + ended) / 2, UTC)
    return ClockFacts((now - middle).total_seconds(), ended - begun)
