"""Actions of the stage that do something of their own, each to show one rule.

They know nothing of the stage, but for the process that may vanish under one.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from execution import Context, RetryableError


class VanishedError(BaseException):
    """The process of an attempt is gone: nothing of it is heard any more."""


class ShopError(Exception):
    """An error of somebody's own."""


class ShopClosedError(ShopError):
    """A special case of it."""


ERRORS: Mapping[str, Callable[[str], BaseException]] = {
    "missing": FileNotFoundError,
    "closed": ShopClosedError,
    "busy": RetryableError,
    "gone": VanishedError,
}


def echo(value: object) -> object:
    """Return what it is given."""
    return value


def fail(ctx: Context, error: str, attempts: int = 99) -> int:
    """Fail so many attempts with an error, and return the number of the next."""
    if ctx.attempt <= attempts:
        raise ERRORS[error](error)
    return ctx.attempt


def show_key(ctx: Context, error: str | None = None) -> list[str]:
    """Return the keys of all attempts, of which the first may fail."""
    key = ctx.idempotency_key.replace(ctx.execution_id, "ID")
    keys = [*ctx.checkpoint.get("keys", []), key]
    if error is not None and ctx.attempt == 1:
        ctx.save_checkpoint({"keys": keys})
        raise ERRORS[error](error)
    return keys


def set_variable(
    ctx: Context, name: str, value: object, failing_attempts: int = 0
) -> None:
    """Set a variable; an attempt that fails sets one more."""
    ctx.variables[name] = [value, ctx.attempt]
    if ctx.attempt <= failing_attempts:
        ctx.variables[f"{name} of a failure"] = ctx.attempt
        raise ValueError(name)


def read_variables(ctx: Context) -> dict[str, Any]:
    """Return the variables of the execution."""
    return dict(ctx.variables)


def use_secret(ctx: Context, token: str, *, fails: bool = False) -> dict[str, object]:
    """Return what it was given, and tell of it wherever one can."""
    ctx.log.info("called with %s", token)
    ctx.progress(50, f"with {token}")
    ctx.save_checkpoint({"token": token})
    ctx.variables["token"] = [token]
    if fails:
        raise ValueError(f"{token} is refused")
    return {"length": len(token), "token": token}


def make_large(size: int) -> str:
    """Return a text that takes so many bytes as JSON."""
    return "x" * (size - len(json.dumps("")))


def measure(text: str) -> int:
    """Return how many characters a text has."""
    return len(text)


def make_foreign() -> object:
    """Return what JSON cannot hold."""
    return object()


ACTIONS: Mapping[str, Callable[..., object]] = {
    f"play.{function.__name__}": function
    for function in (
        *(echo, fail, show_key, set_variable, read_variables, use_secret),
        *(make_large, measure, make_foreign),
    )
}
