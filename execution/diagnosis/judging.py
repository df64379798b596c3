"""From all that was seen to all that is wrong, the worst first."""

from collections.abc import Iterator

from .codes import FindingSeverity
from .facts import BrokerFacts, Observations, PostgresFacts
from .findings import Finding
from .fleet import judge_queues, judge_workers
from .intents import judge_intents
from .programs import judge_program
from .servers import judge_broker, judge_hints, judge_postgres

_KINDS = {
    "workers": "workers",
    "due": "steps that are due",
    "sent": "steps that were sent",
    "lost": "steps that nobody runs",
    "taken": "attempts that were taken away",
    "overdue": "steps beyond their timeout",
    "unwoken": "steps that wait beyond their time",
    "unsent": "executions with steps that were never sent",
    "unfinished": "executions that were not finished",
    "stuck": "executions that may be stuck",
    "needed": "steps that come later",
    "unused_queues": "queues that nobody uses",
}
"""What is read of PostgreSQL, by the name of its field."""


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
    yield from _list_limits_of_postgres(seen)
    if isinstance(seen.broker, BrokerFacts):
        yield from _list_limits_of_broker(seen.broker)
    else:
        yield "messages were not looked at: the broker is away"


def _list_limits_of_postgres(seen: Observations) -> Iterator[str]:
    if not isinstance(seen.postgres, PostgresFacts):
        yield "workers, queues and steps were not looked at: PostgreSQL is away"
    elif seen.standing is None:
        yield (
            "workers, queues and steps were not looked at: the schema does not fit, or"
            " may not be read"
        )
    elif seen.standing.cut:
        kinds = (words for kind, words in _KINDS.items() if kind in seen.standing.cut)
        yield f"not all were looked at, there may be more: {'; '.join(kinds)}"


def _list_limits_of_broker(broker: BrokerFacts) -> Iterator[str]:
    if not broker.kept_are_read:
        yield (
            "what was delivered, and is kept until it is acknowledged, was not read"
            " wholly, so no message is called missing"
        )
    for queue in broker.queues:
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
