"""Whether workers live, fit together, and serve what there is to do."""

from collections.abc import Iterator

from .codes import FindingCode
from .facts import (
    AnswerFacts,
    DueFacts,
    ProgramFacts,
    StandingFacts,
    WorkerFacts,
)
from .findings import Finding, count, find


def judge_workers(
    standing: StandingFacts, program: ProgramFacts, answers: AnswerFacts | None
) -> Iterator[Finding]:
    """Yield what is wrong with the workers that there are."""
    living = list_living(standing, program)
    for worker in standing.workers:
        if worker not in living:
            yield find(
                FindingCode.WORKER_SILENT,
                f"{worker.hostname} has not beaten for {worker.beat_age_seconds:.0f} s",
                [worker.id],
            )
    if not living:
        yield find(FindingCode.NO_WORKER, "no worker has beaten within a lease")
        return
    for worker in living:
        yield from _judge_worker(worker, program)
    yield from _judge_answers(living, answers)
    yield from _judge_looks(living, program)
    if program.payloads_are_local:
        yield from _judge_hosts(living)


def list_living(
    standing: StandingFacts, program: ProgramFacts
) -> tuple[WorkerFacts, ...]:
    """Return the workers that have beaten within their lease."""
    return tuple(
        worker
        for worker in standing.workers
        if worker.beat_age_seconds <= find_lease(worker, program.lease_seconds)
    )


def find_lease(worker: WorkerFacts, lease_seconds: float) -> float:
    """Return how long a worker may be silent; ours, where it has not said so."""
    return worker.lease_seconds or lease_seconds


def _judge_worker(worker: WorkerFacts, program: ProgramFacts) -> Iterator[Finding]:
    if not worker.has_told:
        # it has not beaten yet
        return
    if worker.release is None:
        seen = "an older release, which does not say so"
    elif worker.release != program.release:
        seen = f"the release {worker.release}, and not {program.release}"
    elif worker.functions != program.functions:
        seen = f"the release {worker.release}, with functions of another schema"
    else:
        seen = ""
    if seen:
        yield find(
            FindingCode.WORKER_RELEASE,
            f"{worker.hostname} runs {seen}",
            [worker.id],
            version=program.release,
        )
    lease = worker.lease_seconds
    if lease is not None and lease != program.lease_seconds:
        yield find(
            FindingCode.WORKER_LEASE,
            f"{worker.hostname} goes by {lease:g} s, this program by"
            f" {program.lease_seconds:g} s",
            [worker.id],
        )


def _judge_answers(
    living: tuple[WorkerFacts, ...], answers: AnswerFacts | None
) -> Iterator[Finding]:
    mute = list_mute(living, answers)
    if mute and answers is not None:
        yield find(
            FindingCode.WORKER_MUTE,
            f"{', '.join(worker.hostname for worker in mute)} did not answer",
            [worker.id for worker in mute],
        )


def list_mute(
    living: tuple[WorkerFacts, ...], answers: AnswerFacts | None
) -> tuple[WorkerFacts, ...]:
    """Return those of whom it is not known which messages they hold."""
    heard = answers.hostnames if answers is not None else frozenset()
    return tuple(worker for worker in living if worker.hostname not in heard)


def _judge_looks(
    living: tuple[WorkerFacts, ...], program: ProgramFacts
) -> Iterator[Finding]:
    told = [worker for worker in living if worker.has_told]
    ages = [w.look_age_seconds for w in told if w.look_age_seconds is not None]
    if told and min(ages, default=float("inf")) > program.lease_seconds:
        newest = f"the last {min(ages):.0f} s ago" if ages else "none so far"
        yield find(
            FindingCode.WORKERS_DO_NOT_LOOK,
            f"no look of {len(told)} workers, {newest}",
            [worker.id for worker in told],
        )


def _judge_hosts(living: tuple[WorkerFacts, ...]) -> Iterator[Finding]:
    hosts = sorted({worker.hostname.rpartition("@")[2] for worker in living})
    if len(hosts) > 1:
        yield find(FindingCode.PAYLOADS_APART, f"workers run on {', '.join(hosts)}")


def judge_queues(standing: StandingFacts, program: ProgramFacts) -> Iterator[Finding]:
    """Yield queues and actions that nobody serves, and queues that nobody uses."""
    unserved: dict[str, list[DueFacts]] = {}
    is_cut = "due" in standing.cut
    for due in standing.due:
        if not due.serving:
            unserved.setdefault(due.queue, []).append(due)
        elif not due.able:
            yield find(
                FindingCode.ACTION_MISSING,
                f"{count(due.steps, 'step', is_cut=is_cut)} of {due.action} in the"
                f" queue {due.queue}, the oldest for {due.oldest_seconds:.0f} s",
                due.first,
                is_cut=is_cut,
                queue=due.queue,
            )
    for queue, dues in unserved.items():
        steps = count(sum(due.steps for due in dues), "step", is_cut=is_cut)
        yield find(
            FindingCode.QUEUE_UNSERVED,
            f"{steps} in the queue {queue}, the oldest"
            f" for {max(due.oldest_seconds for due in dues):.0f} s",
            [one for due in dues for one in due.first],
            is_cut=is_cut,
            queue=queue,
        )
    yield from _judge_coming(standing)
    for queue in standing.unused_queues:
        if queue != program.queue:
            yield find(FindingCode.QUEUE_UNUSED, f"the queue {queue}", [queue])


def _judge_coming(standing: StandingFacts) -> Iterator[Finding]:
    known = {(due.queue, due.action) for due in standing.due}
    is_cut = "needed" in standing.cut
    rest = "; of later steps not all were looked at" if is_cut else ""
    for needed in standing.needed:
        if (needed.queue, needed.action) not in known:
            yield find(
                FindingCode.ACTION_COMING,
                f"{needed.action} in the queue {needed.queue}{rest}",
                is_cut=is_cut,
                queue=needed.queue,
                action=needed.action,
            )
