"""The findings of `plans doctor`. Must not know how one comes about, or is shown."""

from enum import StrEnum
from typing import Self


class FindingSeverity(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    """Something does not work, or a promise does not hold."""
    WARNING = "warning"
    """It works, but should not stay so."""
    NOTE = "note"
    """Good to know."""


class FindingCode(StrEnum):
    """A kind of finding, under a name for good: what is wrong, and what to do.

    `is_mended`: `--fix` sees to it. `is_away`: a server does not answer.
    """

    severity: FindingSeverity
    meaning: str
    fix: str
    is_mended: bool

    def __new__(
        cls,
        name: str,
        severity: FindingSeverity,
        meaning: str,
        fix: str,
        is_mended: bool = False,
    ) -> Self:
        """Make a text of the name, which knows the rest."""
        code = str.__new__(cls, name)
        code._value_ = name
        code.severity = severity
        code.meaning = meaning
        code.fix = fix
        code.is_mended = is_mended
        return code

    @property
    def is_away(self) -> bool:
        """Whether a server that nothing works without does not answer."""
        return self in (FindingCode.POSTGRES_AWAY, FindingCode.BROKER_AWAY)

    # programs and settings
    LIBRARY_UNFIT = (
        "library-unfit",
        FindingSeverity.ERROR,
        "Python, or a library, is older or newer than this release works with",
        "pip install '{requirement}'",
    )
    SETTING_REFUSED = (
        "setting-refused",
        FindingSeverity.ERROR,
        "with this setting of the Celery app no step could run",
        "{fix}",
    )
    SETTING_RISK = (
        "setting-risk",
        FindingSeverity.WARNING,
        "a setting of the Celery app ends steps, holds them back, or runs them again",
        "{fix}",
    )
    SETTING_COST = (
        "setting-cost",
        FindingSeverity.NOTE,
        "a setting of the Celery app makes all slower, or dearer, than it needs to be",
        "{fix}",
    )
    NO_HINTS = (
        "no-hints",
        FindingSeverity.NOTE,
        "no Redis carries hints, so whoever watches asks every two seconds",
        "set PLANS_REDIS_URL",
    )
    PAYLOADS_APART = (
        "payloads-apart",
        FindingSeverity.WARNING,
        "workers run on several hosts, and large values lie in a folder of each",
        "set PLANS_PAYLOADS to a URL, or to a folder that all of them share",
    )

    # PostgreSQL
    POSTGRES_AWAY = (
        "postgres-away",
        FindingSeverity.ERROR,
        "PostgreSQL does not answer, or refuses; nothing can be submitted or recorded",
        "start it, or mend PLANS_DATABASE_URL",
    )
    POSTGRES_OLD = (
        "postgres-old",
        FindingSeverity.ERROR,
        "PostgreSQL is older than 14",
        "upgrade PostgreSQL",
    )
    POSTGRES_READ_ONLY = (
        "postgres-read-only",
        FindingSeverity.ERROR,
        "the server is a standby, or its transactions only read",
        (
            "let PLANS_DATABASE_URL name the primary, or"
            " ALTER ROLE {role} RESET default_transaction_read_only"
        ),
    )
    POSTGRES_ISOLATION = (
        "postgres-isolation",
        FindingSeverity.ERROR,
        "the default isolation is not READ COMMITTED; every write is refused",
        "ALTER ROLE {role} SET default_transaction_isolation = 'read committed'",
    )
    POSTGRES_NOT_DURABLE = (
        "postgres-not-durable",
        FindingSeverity.ERROR,
        (
            "`fsync` or `full_page_writes` is off: a crash of the machine may lose, or"
            " spoil, what was committed"
        ),
        "ALTER SYSTEM SET {setting} = on; SELECT pg_reload_conf()",
    )
    POSTGRES_ASYNCHRONOUS = (
        "postgres-asynchronous",
        FindingSeverity.NOTE,
        (
            "`synchronous_commit` is off; writes of plans turn it on for themselves,"
            " those of your own programs do not"
        ),
        "ALTER ROLE {role} SET synchronous_commit = on",
    )
    POSTGRES_CUTS = (
        "postgres-cuts",
        FindingSeverity.WARNING,
        (
            "a timeout of the server, or of a pooler, would cut our connections or"
            " statements"
        ),
        (
            "ALTER ROLE {role} SET {setting} = '{value}', or let the pooler pass on the"
            " `options` of connections"
        ),
    )
    POSTGRES_FULL = (
        "postgres-full",
        FindingSeverity.WARNING,
        "four fifths of the connections that there may be are in use",
        "raise {setting}, or put a pooler in between",
    )
    POSTGRES_RIGHTS = (
        "postgres-rights",
        FindingSeverity.ERROR,
        "the role lacks rights that workers and engines need",
        "GRANT {rights} TO {role}",
    )
    POSTGRES_CLOCK = (
        "postgres-clock",
        FindingSeverity.WARNING,
        "the clocks of this host and of PostgreSQL differ, whose clock decides",
        "let both follow NTP",
    )

    # the schema
    SCHEMA_MISSING = (
        "schema-missing",
        FindingSeverity.ERROR,
        "the database has no schema of plans",
        "plans db upgrade",
    )
    SCHEMA_OLDER = (
        "schema-older",
        FindingSeverity.ERROR,
        "the tables are of an older release than this program",
        "plans db upgrade",
    )
    SCHEMA_NEWER = (
        "schema-newer",
        FindingSeverity.ERROR,
        "the tables are of a newer release than this program",
        "pip install --upgrade celery-plans",
    )
    FUNCTIONS_DIFFER = (
        "functions-differ",
        FindingSeverity.ERROR,
        "the functions of the schema are of another release than this program",
        "plans db upgrade",
    )

    # the broker, and Redis
    BROKER_AWAY = (
        "broker-away",
        FindingSeverity.ERROR,
        "the broker does not answer, or refuses; steps wait until it does",
        "start it, or mend PLANS_BROKER_URL",
    )
    BROKER_OLD = (
        "broker-old",
        FindingSeverity.ERROR,
        "Redis is older than 6.2",
        "upgrade Redis, or use Valkey",
    )
    BROKER_REPLICA = (
        "broker-replica",
        FindingSeverity.ERROR,
        "the broker is a replica, which takes no messages",
        "let PLANS_BROKER_URL name the primary",
    )
    BROKER_EVICTS = (
        "broker-evicts",
        FindingSeverity.WARNING,
        "Redis throws keys away when its memory is used up, and messages with them",
        "CONFIG SET maxmemory-policy noeviction",
    )
    BROKER_FULL = (
        "broker-full",
        FindingSeverity.WARNING,
        "nine tenths of the memory that Redis may use are in use",
        "CONFIG SET maxmemory to more",
    )
    BROKER_FORGETS = (
        "broker-forgets",
        FindingSeverity.NOTE,
        (
            "Redis writes nothing to a disk; after a restart its messages are sent"
            " again, which takes a moment"
        ),
        "CONFIG SET appendonly yes, if that moment matters",
    )
    BROKER_CLOCK = (
        "broker-clock",
        FindingSeverity.NOTE,
        "the clocks of this host and of Redis differ",
        "let both follow NTP",
    )
    BROKER_UNSEEN = (
        "broker-unseen",
        FindingSeverity.NOTE,
        "the broker does not say all that is asked of it",
        "let the doctor's user run INFO, TIME and LRANGE, if that is wanted",
    )
    HINTS_AWAY = (
        "hints-away",
        FindingSeverity.WARNING,
        (
            "the Redis that carries hints does not answer; whoever watches asks every"
            " two seconds"
        ),
        "start it, or mend PLANS_REDIS_URL",
    )

    # workers
    NO_WORKER = (
        "no-worker",
        FindingSeverity.WARNING,
        "no worker runs",
        "plans worker",
    )
    WORKER_SILENT = (
        "worker-silent",
        FindingSeverity.WARNING,
        "a worker has not beaten for a lease, and nobody has declared it dead",
        "plans doctor --fix, or start a worker",
        True,
    )
    WORKER_MUTE = (
        "worker-mute",
        FindingSeverity.NOTE,
        "a worker beats, but did not answer over Celery's remote control",
        (
            "none, if its pool is solo, it is busy, or its remote control is off; else"
            " look at its log"
        ),
    )
    WORKER_RELEASE = (
        "worker-release",
        FindingSeverity.WARNING,
        "a worker runs another release than this program, or another schema's",
        "restart it with the release {version}",
    )
    WORKER_LEASE = (
        "worker-lease",
        FindingSeverity.WARNING,
        "a worker goes by another lease than this program",
        "give all of them the same PLANS_LEASE_SECONDS",
    )
    WORKERS_DO_NOT_LOOK = (
        "workers-do-not-look",
        FindingSeverity.WARNING,
        "workers beat, but no reconciler has looked for a lease",
        "restart the workers; plans doctor --fix looks once",
        True,
    )
    QUEUE_UNUSED = (
        "queue-unused",
        FindingSeverity.NOTE,
        "workers serve a queue that no plan, action or execution names",
        "leave it out of their -Q, if it is a mistake",
    )
    QUEUE_UNSERVED = (
        "queue-unserved",
        FindingSeverity.ERROR,
        "steps are due in a queue that no living worker serves",
        "plans worker -Q {queue}",
    )
    ACTION_MISSING = (
        "action-missing",
        FindingSeverity.ERROR,
        "steps are due whose action no living worker of their queue has",
        "name its module in PLANS_IMPORTS, or in the app, of a worker of {queue}",
    )
    ACTION_COMING = (
        "action-coming",
        FindingSeverity.WARNING,
        "executions will come to steps whose queue, or action, no living worker has",
        "start a worker of {queue} that has {action}",
    )

    # executions and steps
    MESSAGE_MISSING = (
        "message-missing",
        FindingSeverity.WARNING,
        (
            "intended, nowhere: PostgreSQL has sent a step, its message is neither in"
            " the broker nor in a worker's hands"
        ),
        "plans doctor --fix, or wait for a reconciler",
        True,
    )
    MESSAGE_UNWANTED = (
        "message-unwanted",
        FindingSeverity.NOTE,
        (
            "messages for steps that do not wait for one, or of an older epoch:"
            " harmless, their claim drops them"
        ),
        "none",
    )
    MESSAGE_STRANGE = (
        "message-strange",
        FindingSeverity.WARNING,
        (
            "messages for executions that this database does not know: another"
            " installation may share the queue"
        ),
        "give each installation a broker, a virtual host or a PLANS_QUEUE of its own",
    )
    STEP_LOST = (
        "step-lost",
        FindingSeverity.WARNING,
        "running in PostgreSQL, by no live worker",
        "plans doctor --fix, or start a worker",
        True,
    )
    ATTEMPT_TAKEN = (
        "attempt-taken",
        FindingSeverity.WARNING,
        (
            "a worker runs what PostgreSQL has taken from it, or given to another; what"
            " it writes is refused, what it does elsewhere is not"
        ),
        "restart the worker, if it goes on",
    )
    STEP_OVERDUE = (
        "step-overdue",
        FindingSeverity.WARNING,
        "a step runs on a lease after its timeout",
        "start a worker, or restart the one that runs it",
    )
    STEP_UNSENT = (
        "step-unsent",
        FindingSeverity.WARNING,
        "a step is ready and was never sent, long after a reconciler's turn",
        "plans doctor --fix, or start a worker",
        True,
    )
    STEP_UNWOKEN = (
        "step-unwoken",
        FindingSeverity.WARNING,
        "a step waits whose time has come, long after a reconciler's turn",
        "plans doctor --fix, or start a worker",
        True,
    )
    EXECUTION_UNFINISHED = (
        "execution-unfinished",
        FindingSeverity.WARNING,
        "an execution whose steps have all ended was not finished",
        "plans doctor --fix, or start a worker",
        True,
    )
    EXECUTION_STUCK = (
        "execution-stuck",
        FindingSeverity.ERROR,
        "an execution has no step that runs, is due or waits: nothing can move it",
        "plans why {execution}; plans cancel {execution}",
    )
