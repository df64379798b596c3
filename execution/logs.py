"""Follows the lines that steps tell, until their execution has ended.

Lines are written twice a second at most, so they are looked for twice a second, and
only while somebody follows: telling one sends no hint. That of the end ends the wait at
once. An outage of PostgreSQL or Redis is waited out; every line comes once, in order.

Knows neither who tells nor how lines are kept.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial

from .events import EventSubscription
from .log_queries import LinePage
from .observations import LogLine
from .patience import Patience
from .states import is_terminal

POLL_SECONDS = 0.5
"""How long a line may stand before who follows looks again."""


def follow_lines(
    read: Callable[[int], LinePage],
    listen: Callable[[], AbstractContextManager[EventSubscription]],
    *,
    after: int,
) -> Iterator[LogLine]:
    """Yield each line with an id above `after`, until the execution has ended.

    `read(after)` returns the next page; what it raises but outages ends all. `listen()`
    subscribes to the execution's hints.
    """
    ask = Patience().until_answered
    page = ask(partial(read, after))
    with listen() as listener:
        while True:
            yield from page.lines
            if page.lines:
                after = page.lines[-1].id
            elif is_terminal(page.status):
                return
            else:
                listener.wait(POLL_SECONDS, for_last=True)
            page = ask(partial(read, after))
