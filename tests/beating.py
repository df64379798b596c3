"""Beats of a worker that is only a row: what it has in hand, as its tests say."""

from collections.abc import Sequence
from dataclasses import dataclass

from execution.database import Database
from execution.liveness import Beat, LivenessRecords


@dataclass(frozen=True)
class Hands:
    """What a worker has in hand."""

    waiting: int = 0
    deliveries: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()


NOTHING = Hands()


def beat(
    database: Database,
    worker_id: str,
    queues: Sequence[str],
    *,
    hands: Hands = NOTHING,
    times: int = 2,
) -> Beat | None:
    """Beat with these hands; from the second time on, the sample is a young one."""
    answer: Beat | None = None
    for _ in range(times):
        previous = database.query(
            "SELECT {schema}.plans_now() AS seen_at, coalesce("
            "(SELECT beats FROM {schema}.workers WHERE id = %s), 0) AS beats",
            (worker_id,),
        )[0]
        answer = LivenessRecords(database).beat(
            worker_id,
            slots=8,
            in_hand=hands.waiting + len(hands.deliveries),
            queues=queues,
            deliveries=hands.deliveries,
            tokens=hands.tokens,
            previous=Beat(previous["seen_at"], previous["beats"]),
        )
    return answer
