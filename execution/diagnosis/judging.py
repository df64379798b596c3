"""From all that was seen to all that is wrong, the worst first."""

from collections.abc import Iterator

from .codes import FindingSeverity
from .facts import BrokerFacts, Observations, PostgresFacts
from .findings import Finding
from .fleet import judge_queues, judge_workers
from .intents import judge_intents
from .programs import judge_program
from .servers import judge_broker, judge_hints, judge_postgres


def judge(seen: Observations) -> tuple[Finding, ...]:
    """Return every finding, errors first, else in the order of what is looked at."""
    order = list(FindingSeverity)
    found = sorted(_judge_all(seen), key=lambda one: order.index(one.severity))
    return tuple(found)


def _judge_all(seen: Observations) -> Iterator[Finding]:
    yield from judge_program(seen.program)
    yield from judge_postgres(seen.postgres, seen.program)
    yield from judge_broker(seen.broker)
    yield from judge_hints(seen.hints, seen.broker)
    if seen.standing is not None:
        yield from judge_workers(seen.standing, seen.program, seen.answers)
        yield from judge_queues(seen.standing, seen.program)
    yield from judge_intents(seen)


def list_limits(seen: Observations) -> tuple[str, ...]:
    """Return what was not looked at, or not wholly, and why."""
    return tuple(_list_limits(seen))


def _list_limits(seen: Observations) -> Iterator[str]:
    if not isinstance(seen.postgres, PostgresFacts):
        yield "workers, queues and steps were not looked at: PostgreSQL is away"
    elif seen.standing is None:
        yield (
            "workers, queues and steps were not looked at: the schema does not fit, or"
            " may not be read"
        )
    elif seen.standing.is_cut:
        yield "there are more steps, executions or workers than were looked at"
    if not isinstance(seen.broker, BrokerFacts):
        yield "messages were not looked at: the broker is away"
        return
    for queue in seen.broker.queues:
        if not queue.is_read_wholly and queue.read:
            yield (
                f"of the queue {queue.name} the oldest {queue.read:,} of"
                f" {queue.messages:,} messages were read, so none is called missing"
            )
        elif not queue.is_read_wholly:
            yield (
                f"of the queue {queue.name} only the number of messages is known,"
                f" {queue.messages:,}"
            )
