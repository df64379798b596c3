"""Dependencies that are paused: tried with one step, then with more, then with all.

Called by the reconcilers, which are told when a canary has ended or a step has failed,
and look for themselves at each round. What is done was decided in `dependencies` from
what the database holds, and lands only if that is still so: of many who try, one does.
"""

import logging
import uuid

from .dependencies import DependencyState, Move, Trial, decide
from .dependency_records import DependencyRecords
from .errors import DatabaseError
from .parking import ParkedExecutions

logger = logging.getLogger(__name__)

_MOST_RELEASED_EXECUTIONS = 100
"""What one who frees a dependency lets go on itself; the reconcilers do the rest."""


class DependencyTrials:
    """Moves dependencies on."""

    def __init__(self, records: DependencyRecords, parking: ParkedExecutions) -> None:
        """Decide on what `records` hold; `parking` lets steps go on."""
        self._records = records
        self._parking = parking

    def settle(self, name: str) -> int:
        """Decide on a dependency once; say whether that changed anything.

        Raises DatabaseError when PostgreSQL does not answer; the next look goes on.
        """
        seen = self._records.read_trial(name)
        if seen is None or seen.state is DependencyState.FREE:
            return 0
        move = decide(seen)
        given = self._records.move(seen, move, act_id=str(uuid.uuid4()))
        if given is None:
            return 0
        _log(seen, move)
        # should this process die here: the sweep finds what is let through and waits
        released = sum(map(self._parking.release, given))
        if move.state is DependencyState.FREE:
            self._parking.try_release(_MOST_RELEASED_EXECUTIONS)
        return int(bool(released) or move.state is not seen.state)

    def try_settle(self, name: str) -> None:
        """Do the same for who has resumed it: should it fail, the reconcilers do it."""
        try:
            self.settle(name)
        except DatabaseError as error:
            logger.warning(
                "dependency is left to the reconcilers",
                extra={"dependency": name, "cause": str(error)},
            )


def _log(seen: Trial, move: Move) -> None:
    reason = move.reason or seen.reason
    ids = {"dependency": seen.name, "reason": reason, "let_through": move.give}
    if move.state is DependencyState.PAUSED:
        # also the first look after failures have paused it
        logger.warning("dependency paused", extra={**ids, "until": move.look_at})
    elif move.state is not seen.state or move.give:
        logger.info("dependency tried", extra={**ids, "state": move.state.value})
