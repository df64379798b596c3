"""Registers recovery strategies: functions that are asked when a step has failed.

They stand in the registry of actions, so that workers publish, claim and run them like
actions. Knows nothing of plans or the database.
"""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from .actions import Action, ActionRegistry, registry
from .errors import ActionRegistrationError
from .recovery import STRATEGY_PREFIX, read_decision

_Decide = TypeVar("_Decide", bound=Callable[..., Any])


def recovery_strategy(
    name: str, *, timeout: str | None = None
) -> Callable[[_Decide], _Decide]:
    """Register the decorated function as the recovery strategy `name`.

    It is called with the context, if it takes one, and `failure`, a mapping such as
    fallbacks may read; it returns a Recovery. `timeout` is for one attempt.
    """

    def register(function: _Decide) -> _Decide:
        add_strategy(registry, name, function, timeout)
        return function

    return register


def add_strategy(
    known: ActionRegistry, name: str, function: Callable[..., Any], timeout: str | None
) -> Action:
    """Register `function` as a strategy.

    Raises ActionRegistrationError as for an action, and when it takes no failure.
    """
    takes = inspect.signature(function).parameters.values()
    if not any(p.name == "failure" or p.kind is p.VAR_KEYWORD for p in takes):
        raise ActionRegistrationError(
            f"strategy {name!r} is asked with `failure`: give its function a parameter"
            " of that name"
        )
    return known.add(
        f"{STRATEGY_PREFIX}{name}", function, timeout, read_result=read_decision
    )
