"""Callbacks that are told of executions, each in a thread of its own.

A thread reads at the pace of its callback: a slow one falls behind and is then told
more at once, and nothing is kept for it meanwhile. What a callback raises is logged,
and ends nothing.
"""

import logging
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from .cursors import read_horizon, read_mark
from .errors import PlansError
from .filters import ExecutionFilter
from .overseeing import OverseenExecutions
from .patience import Patience
from .updates import ExecutionUpdate

logger = logging.getLogger(__name__)

_MOST_CLOSING_SECONDS = 10.0
"""How long the end of a subscription waits for a callback that is being called."""

_calling: ContextVar[object] = ContextVar("plans_calling", default=None)
"""The call of a callback that this is a part of, in whichever thread or task."""

Callback = Callable[[ExecutionUpdate], Any]
Follow = Callable[[Patience], Iterator[ExecutionUpdate]]


@dataclass(eq=False)
class _Subscription:
    """One callback, and the thread that calls it."""

    follow: Follow
    callback: Callback
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    stopping: threading.Event = field(default_factory=threading.Event)
    call: object = None
    """The call that is under way."""

    def run(self) -> None:
        """Call back for each update, until there is no more or it is to stop."""
        patience = Patience(self.stopping.is_set, self._rest)
        try:
            with closing(self.follow(patience)) as updates:  # type: ignore[type-var]  # generators, all of them
                for update in updates:
                    if self.stopping.is_set():
                        return
                    self._call(update)
        except PlansError as error:
            if not self.stopping.is_set():
                logger.warning(
                    "a subscription has ended",
                    extra={"subscription": self.id, "cause": str(error)},
                )

    def _call(self, update: ExecutionUpdate) -> None:
        self.call = object()
        token = _calling.set(self.call)
        try:
            self.callback(update)
        except Exception:  # the code is the caller's, and may raise anything
            logger.exception(
                "a callback has failed",
                extra={
                    "subscription": self.id,
                    "execution_id": update.execution_id,
                    "cursor": update.cursor,
                },
            )
        finally:
            _calling.reset(token)
            self.call = None

    def is_calling_here(self) -> bool:
        """Say whether its callback, under way, has come to this very place."""
        return self.call is not None and self.call is _calling.get()

    def _rest(self, seconds: float) -> None:
        self.stopping.wait(seconds)


class Subscriptions:
    """The subscriptions of one engine, and their threads."""

    def __init__(self) -> None:
        """Begin with none."""
        self._lock = threading.Lock()
        self._running: dict[str, tuple[_Subscription, threading.Thread]] = {}

    def add(self, follow: Follow, callback: Callback) -> str:
        """Call `callback` with what `follow` yields; return the subscription's id."""
        subscription = _Subscription(follow, callback)
        thread = threading.Thread(
            target=self._run,
            args=(subscription,),
            name="plans-subscription",
            daemon=True,
        )
        with self._lock:
            # who closes meanwhile joins none that has not begun
            thread.start()
            self._running[subscription.id] = subscription, thread
        return subscription.id

    def remove(self, subscription_id: str) -> bool:
        """End a subscription; say whether it was there."""
        with self._lock:
            found = self._running.get(subscription_id)
        if found is None:
            return False
        subscription, thread = found
        subscription.stopping.set()
        if not subscription.is_calling_here():
            thread.join(_MOST_CLOSING_SECONDS)
            if thread.is_alive():
                logger.warning(
                    "a callback does not return; its thread is left behind",
                    extra={"subscription": subscription_id},
                )
        return True

    def close(self) -> None:
        """End all of them."""
        with self._lock:
            running = dict(self._running)
        for subscription, _ in running.values():
            subscription.stopping.set()
        for subscription_id in running:
            self.remove(subscription_id)

    def _run(self, subscription: _Subscription) -> None:
        try:
            subscription.run()
        finally:
            with self._lock:
                self._running.pop(subscription.id, None)


class SubscribedExecutions(OverseenExecutions):
    """Who `ExecutionEngine` calls back."""

    _subscriptions: Subscriptions

    def subscribe(
        self,
        watched: str | ExecutionFilter | None,
        callback: Callback,
        *,
        after: int | str | None = None,
    ) -> str:
        """Call `callback(update)` for each update of what is watched; return an id.

        The id of an execution: what `monitor` yields, until it has ended. A filter, or
        None for all: what `monitor_all` yields, from now on. `after` is the cursor of
        an update to continue after. The callback is called in a thread of its own; one
        that raises is told the next update all the same. Raises CursorError, and
        ExecutionNotFoundError when there is no such execution.
        """
        follow: Follow
        if isinstance(watched, str):
            mark = str(read_mark(0 if after is None else after))
            self.get_status(watched)
            follow = partial(self._follow, watched, mark)
        else:
            wanted = watched or ExecutionFilter()
            cursor = self.get_cursor(wanted) if after is None else str(after)
            horizon = self._check_horizon(read_horizon(cursor))
            follow = partial(self._oversee, wanted, horizon)
        return self._subscriptions.add(follow, callback)

    def unsubscribe(self, subscription_id: str) -> bool:
        """End a subscription; say whether there was one.

        When it returns, the callback is not called any more: one that is being called
        is waited for, ten seconds at most, except by itself and by what it awaits.
        """
        return self._subscriptions.remove(subscription_id)
