"""What goes back before its end: steps that yield, and what a worker has that stops.

Every act is one call of a function in `sql/24_yields.sql` and a compare-and-set: what
somebody else has taken or sent meanwhile is left alone. Knows neither how processes are
ended nor what is sent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from .answers import Completion, HeldStep, Recorded, read_completion
from .database import Database
from .windows import Window, read_windows


class YieldCause(StrEnum):
    """Why an attempt is asked to yield."""

    PAUSE = "pause"
    DRAIN = "drain"
    """Its worker is to stop."""


class Yielded(StrEnum):
    """Whether a step went back to be begun again; `sql/24_yields.sql` says when not."""

    YIELDED = "yielded"
    REFUSED = "refused"
    STALE = "stale"


@dataclass(frozen=True)
class YieldAnswer:
    """The answer to an attempt that yields, and what to send."""

    outcome: Yielded
    last_seq: int | None
    windows: tuple[Window, ...]


class DrainRecords:
    """Gives back what a worker will not finish, or not begin."""

    def __init__(self, database: Database) -> None:
        """Write through `database`."""
        self._database = database

    def find_held(self, worker_id: str) -> tuple[HeldStep, ...]:
        """Return the steps that a worker runs at this moment."""
        rows = self._database.call_all("held_steps", worker_id)
        return tuple(
            HeldStep(str(row["execution_id"]), row["position"], str(row["lease_token"]))
            for row in rows
        )

    def take(self, held: HeldStep) -> Completion | None:
        """Take a step from its attempt, for others; None when it is not held any more.

        It counts neither as a failure nor as a loss.
        """
        row = self._database.call(
            "drain_step", held.execution_id, held.position, held.token
        )
        if row["outcome"] == "nothing":
            return None
        return read_completion(held.execution_id, Recorded.RECORDED, row)

    def is_held(self, held: HeldStep) -> bool:
        """Say whether nobody took it: it runs, or has succeeded, under that token."""
        row = self._database.call(
            "is_held", held.execution_id, held.position, held.token
        )
        return bool(row["is_held"])

    def return_message(
        self, execution_id: str, positions: Sequence[int], epoch: int
    ) -> tuple[Window, ...]:
        """Count the step that a message is for as sent once more; return what to send.

        That is nothing where the step does not wait for a message.
        """
        row = self._database.call(
            "return_message", execution_id, list(positions), epoch
        )
        return read_windows(execution_id, row["epoch"], row["windows"])
