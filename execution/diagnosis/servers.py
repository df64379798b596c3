"""Whether PostgreSQL, its schema, the broker and all clocks are as plans need them."""

from collections.abc import Iterator, Mapping

from .codes import FindingCode
from .facts import (
    AwayFacts,
    BrokerFacts,
    ClockFacts,
    ConnectionFacts,
    PostgresFacts,
    ProgramFacts,
    RedisFacts,
    SchemaFacts,
)
from .findings import Finding, find
from .programs import meets

LEAST_POSTGRES = 140_000
LEAST_REDIS = "6.2"
MOST_CLOCK_SECONDS = 2.0
"""How far clocks may be apart."""
STATEMENT_MILLISECONDS = 60_000
"""What connections of ours ask for; a pooler that drops it drops the others as well."""

_DURABLE = ("fsync", "full_page_writes")
_MOST_USED = 0.8
_MOST_MEMORY = 0.9


def judge_postgres(
    postgres: PostgresFacts | AwayFacts, program: ProgramFacts
) -> Iterator[Finding]:
    """Yield what is wrong with PostgreSQL and with the schema in it."""
    if isinstance(postgres, AwayFacts):
        yield find(FindingCode.POSTGRES_AWAY, postgres.cause)
        return
    if postgres.version < LEAST_POSTGRES:
        major, minor = divmod(postgres.version, 10_000)
        yield find(FindingCode.POSTGRES_OLD, f"it is PostgreSQL {major}.{minor}")
    yield from _judge_postgres_settings(postgres)
    yield from _judge_limits(postgres.limits)
    if postgres.missing_rights:
        yield from _judge_rights(postgres)
    yield from _judge_clock(FindingCode.POSTGRES_CLOCK, "PostgreSQL", postgres.clock)
    if postgres.schema is not None:
        yield from _judge_schema(postgres.schema_name, postgres.schema, program)


def _judge_postgres_settings(postgres: PostgresFacts) -> Iterator[Finding]:
    settings, role = postgres.settings, postgres.role
    if postgres.is_standby or settings.get("default_transaction_read_only") == "on":
        what = "a standby" if postgres.is_standby else "default_transaction_read_only"
        yield find(FindingCode.POSTGRES_READ_ONLY, f"it is {what}", role=role)
    isolation = settings.get("default_transaction_isolation", "read committed")
    if isolation != "read committed":
        yield find(
            FindingCode.POSTGRES_ISOLATION,
            f"default_transaction_isolation is {isolation!r}",
            role=role,
        )
    for name in _DURABLE:
        if settings.get(name) == "off":
            yield find(FindingCode.POSTGRES_NOT_DURABLE, f"{name} is off", setting=name)
    if settings.get("synchronous_commit") == "off":
        yield find(
            FindingCode.POSTGRES_ASYNCHRONOUS, "synchronous_commit is off", role=role
        )
    for name, value, usual in _find_cuts(settings):
        yield find(
            FindingCode.POSTGRES_CUTS,
            f"{name} is {value} ms",
            role=role,
            setting=name,
            value=usual,
        )


def _find_cuts(settings: Mapping[str, str]) -> Iterator[tuple[str, int, str]]:
    """Yield timeouts that are not ours, their milliseconds, and what they should be."""
    # what lies idle is cut by it, and opened anew with the next call: connections of
    # listeners hear nothing meanwhile
    for name in ("idle_session_timeout", "transaction_timeout"):
        if value := int(settings.get(name, 0)):
            yield name, value, "0"
    statement = int(settings.get("statement_timeout", STATEMENT_MILLISECONDS))
    if statement != STATEMENT_MILLISECONDS:
        yield "statement_timeout", statement, "60s"


def _judge_limits(limits: tuple[ConnectionFacts, ...]) -> Iterator[Finding]:
    for limit in limits:
        if limit.most >= 0 and limit.used >= _MOST_USED * limit.most:
            yield find(
                FindingCode.POSTGRES_FULL,
                f"{limit.used} of {limit.most} connections ({limit.setting})",
                setting=limit.setting,
            )


def _judge_rights(postgres: PostgresFacts) -> Iterator[Finding]:
    missing = postgres.missing_rights
    yield find(
        FindingCode.POSTGRES_RIGHTS,
        f"the role {postgres.role} lacks {', '.join(missing)}",
        rights=missing[0].replace(" on ", " ON "),
        role=postgres.role,
    )


def _judge_clock(
    code: FindingCode, server: str, clock: ClockFacts
) -> Iterator[Finding]:
    # the answer may have been written at any time of the round trip
    least = abs(clock.ahead_seconds) - clock.round_trip_seconds / 2
    if least > MOST_CLOCK_SECONDS:
        word = "ahead of" if clock.ahead_seconds > 0 else "behind"
        yield find(
            code,
            f"{server} is {abs(clock.ahead_seconds):.1f} s {word} this host, within"
            f" {clock.round_trip_seconds / 2:.3f} s",
        )


def _judge_schema(
    name: str, schema: SchemaFacts, program: ProgramFacts
) -> Iterator[Finding]:
    found, wanted = schema.revision, program.revision
    if found is None:
        yield find(FindingCode.SCHEMA_MISSING, f"there is no schema {name}")
    elif found != wanted:
        # they are numbers of four digits
        code = FindingCode.SCHEMA_OLDER if found < wanted else FindingCode.SCHEMA_NEWER
        yield find(code, f"schema {name} is at revision {found}, not {wanted}")
    elif schema.functions != program.functions:
        yield find(FindingCode.FUNCTIONS_DIFFER, f"in schema {name}")


def judge_broker(broker: BrokerFacts | AwayFacts) -> Iterator[Finding]:
    """Yield what is wrong with the broker itself."""
    if isinstance(broker, AwayFacts):
        yield find(FindingCode.BROKER_AWAY, broker.cause)
        return
    if broker.redis is not None:
        yield from _judge_redis(broker.redis, "the broker")
        yield from _judge_memory(broker.redis)
    if broker.refusals:
        yield find(FindingCode.BROKER_UNSEEN, "; ".join(broker.refusals))


def judge_hints(
    hints: RedisFacts | AwayFacts | None, broker: BrokerFacts | AwayFacts
) -> Iterator[Finding]:
    """Yield what is wrong with the Redis that carries hints, if it is another one."""
    if isinstance(hints, AwayFacts):
        yield find(FindingCode.HINTS_AWAY, hints.cause)
    elif hints is not None and not _is_same(hints, broker):
        yield from _judge_redis(hints, "the Redis of hints")


def _is_same(hints: RedisFacts, broker: BrokerFacts | AwayFacts) -> bool:
    redis = broker.redis if isinstance(broker, BrokerFacts) else None
    return redis is not None and hints.run_id == redis.run_id


def _judge_redis(redis: RedisFacts, name: str) -> Iterator[Finding]:
    if redis.version is not None and not meets(redis.version, f">={LEAST_REDIS}"):
        yield find(FindingCode.BROKER_OLD, f"{name} is {redis.product} {redis.version}")
    if redis.role == "slave":
        yield find(FindingCode.BROKER_REPLICA, f"{name} is a replica")
    if redis.clock is not None:
        yield from _judge_clock(FindingCode.BROKER_CLOCK, name, redis.clock)
    if redis.refusals:
        yield find(FindingCode.BROKER_UNSEEN, f"{name}: {'; '.join(redis.refusals)}")


def _judge_memory(redis: RedisFacts) -> Iterator[Finding]:
    if redis.most_bytes:
        if redis.policy not in (None, "noeviction"):
            yield find(FindingCode.BROKER_EVICTS, f"maxmemory-policy is {redis.policy}")
        if (redis.used_bytes or 0) >= _MOST_MEMORY * redis.most_bytes:
            yield find(
                FindingCode.BROKER_FULL,
                f"{redis.used_bytes:,} of {redis.most_bytes:,} bytes are in use",
            )
    if redis.is_kept is False:
        yield find(FindingCode.BROKER_FORGETS, "neither appendonly nor save is set")
