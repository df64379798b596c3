"""Which hints are sent at once, and which are kept for a moment.

The first one of an execution is sent at once; of those that follow within the pause
only the newest is kept. It must not know the time, nor how hints travel; its owner sees
to it that one thread at a time is here.
"""

PAUSE_SECONDS = 0.05
"""How long after a hint the next one of the same execution is kept back, at most."""
_MOST_EXECUTIONS = 1_000
"""Of how many executions hints are kept; those of others are sent at once."""


class Coalescer:
    """What was sent a moment ago, and what is kept."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._kept: dict[str, int] = {}
        self._sent_at: dict[str, float] = {}

    @property
    def is_empty(self) -> bool:
        """Say whether nothing is kept."""
        return not self._kept

    def is_due(self, execution_id: str, now: float) -> bool:
        """Say whether a hint is to be sent at once."""
        if execution_id in self._kept:
            # in the order of their numbers: it goes with what is kept
            return False
        since = now - PAUSE_SECONDS
        return (
            self._sent_at.get(execution_id, since) <= since
            or len(self._kept) >= _MOST_EXECUTIONS
        )

    def keep(self, execution_id: str, seq: int) -> None:
        """Keep a hint, in place of an older one of that execution."""
        self._kept[execution_id] = max(seq, self._kept.get(execution_id, seq))

    def take(self, now: float) -> dict[str, int]:
        """Return what is kept, to be sent now, and keep it no more."""
        kept, self._kept = self._kept, {}
        for execution_id in kept:
            self.note_sent(execution_id, now)
        return kept

    def note_sent(self, execution_id: str, now: float) -> None:
        """Remember for a pause that a hint of this execution is sent now."""
        self._sent_at.pop(execution_id, None)
        self._sent_at[execution_id] = now
        # in the order of their times: the first is the oldest
        while (
            len(self._sent_at) > _MOST_EXECUTIONS
            or next(iter(self._sent_at.values())) < now - PAUSE_SECONDS
        ):
            del self._sent_at[next(iter(self._sent_at))]

    def forget(self, execution_id: str) -> None:
        """Keep nothing of an execution that has ended."""
        self._kept.pop(execution_id, None)
        self._sent_at.pop(execution_id, None)
