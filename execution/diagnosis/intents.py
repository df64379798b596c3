"""What PostgreSQL wants, beside the broker's messages and what workers hold.

    PostgreSQL      broker, workers         finding
    sent, ready     no message anywhere     message-missing
    no such step    a message               message-strange
    not ready       a message               message-unwanted
    running         by no living worker     step-lost
    taken           a worker still runs it  attempt-taken

The three are read one after the other, while all goes on. So a step whose message is
not found counts only if it was sent a while ago, and still waits in the same way after
all else was read; and only where every message was read, and every worker answered.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from .codes import FindingCode
from .facts import (
    BrokerFacts,
    MessageFacts,
    MessageTarget,
    Observations,
    SentStep,
    StandingFacts,
    StrayStep,
)
from .findings import Finding, count, find
from .fleet import list_living, list_mute

ON_ITS_WAY_SECONDS = 2.0
"""How long a message may be on its way from PostgreSQL's commit to the broker."""


def judge_intents(seen: Observations) -> Iterator[Finding]:
    """Yield where PostgreSQL, the broker and the workers differ."""
    if seen.standing is not None and (missing := find_missing(seen)):
        is_cut = "sent" in seen.standing.cut
        yield find(
            FindingCode.MESSAGE_MISSING,
            f"{count(len(missing), 'step', is_cut=is_cut)} sent, and without a message;"
            f" the oldest {max(step.sent_seconds for step in missing):.0f} s ago",
            [str(step) for step in missing],
            is_cut=is_cut,
        )
    yield from _judge_messages(seen)
    if seen.standing is not None:
        yield from _judge_steps(seen.standing)
        yield from _judge_executions(seen.standing)


def find_missing(seen: Observations) -> tuple[SentStep, ...]:
    """Return the steps that were sent, and whose message is certainly nowhere."""
    standing, broker = seen.standing, seen.broker
    if standing is None or not isinstance(broker, BrokerFacts):
        return ()
    if not broker.kept_are_read:
        # of each queue some may have been delivered
        return ()
    by_step, by_name = _list_held(seen, broker)
    readable = _list_readable(seen, broker, standing)
    return tuple(
        step
        for step in standing.sent
        if step in seen.still_sent
        and step.queue in readable
        and step.sent_seconds >= ON_ITS_WAY_SECONDS
        and step.place not in by_step
        and (step.execution_id, step.step, step.epoch) not in by_name
    )


def _list_held(
    seen: Observations, broker: BrokerFacts
) -> tuple[set[tuple[str, int, int]], set[tuple[str, str, int]]]:
    """Return what there are messages for: in the broker, and in workers' hands."""
    by_step = {
        (message.execution_id, position, message.epoch)
        for message in broker.messages
        for position in message.positions
    }
    held = seen.answers.held if seen.answers is not None else ()
    return by_step, {(one.execution_id, one.step, one.epoch) for one in held}


def _list_readable(
    seen: Observations, broker: BrokerFacts, standing: StandingFacts
) -> set[str]:
    """Return the queues of which every message is known, wherever it is."""
    living = list_living(standing, seen.program)
    mute = {q for worker in list_mute(living, seen.answers) for q in worker.queues}
    return {
        queue.name
        for queue in broker.queues
        if queue.is_read_wholly and queue.name not in mute
    }


def _judge_messages(seen: Observations) -> Iterator[Finding]:
    unwanted: dict[str, list[MessageFacts]] = {}
    strange: dict[str, list[MessageFacts]] = {}
    for message, targets in seen.targets.items():
        if all(target.execution_status is None for target in targets):
            strange.setdefault(message.queue, []).append(message)
        elif not any(_is_wanted(message, target) for target in targets):
            unwanted.setdefault(message.queue, []).append(message)
    for code, found in (
        (FindingCode.MESSAGE_UNWANTED, unwanted),
        (FindingCode.MESSAGE_STRANGE, strange),
    ):
        for queue, messages in found.items():
            yield find(
                code,
                f"{count(len(messages), 'message')} in the queue {queue}",
                list(dict.fromkeys(message.execution_id for message in messages)),
            )


def _is_wanted(message: MessageFacts, target: MessageTarget) -> bool:
    return target.step_status == "ready" and target.epoch == message.epoch


def _judge_steps(standing: StandingFacts) -> Iterator[Finding]:
    for code, kind, text in (
        (FindingCode.STEP_LOST, "lost", "run by no living worker"),
        (FindingCode.ATTEMPT_TAKEN, "taken", "taken away, and still run"),
        (FindingCode.STEP_OVERDUE, "overdue", "beyond the timeout"),
        (FindingCode.STEP_UNWOKEN, "unwoken", "waiting, beyond the time"),
    ):
        steps: tuple[StrayStep, ...] = getattr(standing, kind)
        is_cut = kind in standing.cut
        if steps:
            yield find(
                code,
                f"{count(len(steps), 'step', is_cut=is_cut)} {text}, for"
                f" {_oldest(steps):.0f} s at most{_name_causes(steps)}",
                [str(step) for step in steps],
                is_cut=is_cut,
            )


def _oldest(steps: Sequence[StrayStep]) -> float:
    return max(step.seconds for step in steps)


def _name_causes(steps: Sequence[StrayStep]) -> str:
    causes = Counter(step.cause for step in steps if step.cause)
    workers = sorted({step.worker for step in steps if step.worker})
    named = [cause for cause, _ in causes.most_common()]
    return "".join(f"; {one}" for one in [*named, ", ".join(workers)] if one)


def _judge_executions(standing: StandingFacts) -> Iterator[Finding]:
    for code, kind, text in (
        (FindingCode.STEP_UNSENT, "unsent", "steps of {} were never sent"),
        (FindingCode.EXECUTION_UNFINISHED, "unfinished", "{}"),
        (FindingCode.EXECUTION_STUCK, "stuck", "{}"),
    ):
        ids: tuple[str, ...] = getattr(standing, kind)
        is_cut = kind in standing.cut
        if ids:
            yield find(
                code,
                text.format(count(len(ids), "execution", is_cut=is_cut)),
                ids,
                is_cut=is_cut,
                execution=ids[0],
            )
