"""Ends of executions that their last step tells through a Redis list.

For systems that have no cheaper way to say that something has ended. A line is the
execution's id, the number of steps that ran, and the time of day.
"""

import time
from collections.abc import Mapping, Sequence

import redis

from benchmarks.systems.system import WAIT_SECONDS


class Ends:
    """What was told, as far as it was asked for."""

    def __init__(self, client: redis.Redis, key: str) -> None:
        """Read the list `key`, from now on."""
        self._client = client
        self._key = key
        self._told: dict[str, tuple[int, float]] = {}
        client.delete(key)

    def wait(self, ids: Sequence[str]) -> Mapping[str, float]:
        """Wait until each was told; return when it ended."""
        deadline = time.monotonic() + WAIT_SECONDS
        missing = set(ids) - set(self._told)
        while missing:
            # the client gives up reading after a few seconds
            line = self._client.brpop([self._key], timeout=1)
            if not line:
                late = time.monotonic() > deadline
                assert not late, f"{len(missing)} of {len(ids)} did not end"
                continue
            told = line[1]
            assert isinstance(told, bytes)
            name, steps, at = told.decode().split()
            assert name not in self._told, f"{name} ended twice"
            self._told[name] = (int(steps), float(at))
            missing.discard(name)
        return {name: self._told[name][1] for name in ids}

    def check(self, ids: Sequence[str], steps: int) -> None:
        """Assert that each ran so many steps."""
        assert all(self._told[name][0] == steps for name in ids)
