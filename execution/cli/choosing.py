"""Options by which commands choose executions, and the filter that they come to.

Promises: a time without a zone is this machine's; what cannot be asked is wrong usage.
Must not know who asks.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Annotated, Any

import typer

from ..durations import DurationError, parse_duration_seconds
from ..errors import FilterError
from ..filters import ExecutionFilter
from ..states import ExecutionStatus
from .completing import complete_executions, complete_plans
from .exits import UsageError

Statuses = Annotated[
    list[ExecutionStatus] | None,
    typer.Option("--status", help="Only those in this state; may be repeated."),
]
PlanName = Annotated[
    str | None,
    typer.Option(
        "--plan",
        metavar="NAME",
        help="Only those of this plan, NAME or NAME@VERSION.",
        autocompletion=complete_plans,
    ),
]
TagsOfAll = Annotated[
    list[str] | None,
    typer.Option("--tag", help="Only those with this tag; repeated, with all of them."),
]
Since = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Only those created since: 2h ago, 2026-11-21, 2026-11-21T08:00:00Z.",
    ),
]
Until = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Only those created before, written likewise."),
]
Parent = Annotated[
    str | None,
    typer.Option(
        metavar="ID",
        help="Only those that this execution has begun.",
        autocompletion=complete_executions,
    ),
]
Outer = Annotated[
    bool, typer.Option("--outer", help="Only those that no other has begun.")
]
Where = Annotated[
    str | None,
    typer.Option(
        metavar="EXPRESSION",
        help="Only those of which it is true: 'parameters.customer == \"acme\"'.",
    ),
]


def with_filter(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command these options, and the filter that they come to as `wanted`."""
    return with_options(_build_filter, "wanted")(command)


def with_options(
    build: Callable[..., object], name: str
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return what gives a command the options of `build`, and what it makes of them.

    They come before the command's own; `name` is the parameter for what is made.
    """

    def give(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def choose(**given: Any) -> None:
            chosen = {option: given.pop(option) for option in options}
            command(**{name: build(**chosen)}, **given)

        options, own = _list_parameters(build), _list_parameters(command)
        del own[name]
        both = [*options.values(), *own.values()]
        # by which typer knows the options of a command
        choose.__signature__ = Signature(both)  # type: ignore[attr-defined]  # as inspect looks for it
        choose.__annotations__ = {one.name: one.annotation for one in both}
        return choose

    return give


def _list_parameters(function: Callable[..., object]) -> dict[str, Parameter]:
    return {
        name: one.replace(kind=Parameter.KEYWORD_ONLY)
        for name, one in signature(function, eval_str=True).parameters.items()
    }


def _build_filter(
    *,
    status: Statuses = None,
    plan: PlanName = None,
    tag: TagsOfAll = None,
    since: Since = None,
    until: Until = None,
    parent: Parent = None,
    outer: Outer = False,
    where: Where = None,
) -> ExecutionFilter:
    """Return what the options ask for; raises UsageError."""
    if parent is not None and outer:
        raise UsageError("--parent and --outer exclude each other")
    now = datetime.now(UTC)
    try:
        return ExecutionFilter(
            status=status or None,
            plan=plan,
            tag=tag or None,
            since=read_moment(since, now, "--since"),
            until=read_moment(until, now, "--until"),
            parent_id=parent,
            is_outer=outer,
            where=where,
        )
    except FilterError as error:
        raise UsageError(str(error)) from error


def read_moment(text: str | None, now: datetime, option: str) -> datetime | None:
    """Return the moment that a text means, which may be so long ago; None of None.

    Raises UsageError, naming the option, for what is none.
    """
    if text is None:
        return None
    try:
        return now - timedelta(seconds=parse_duration_seconds(text))
    except DurationError:
        pass
    try:
        # without a zone it is this machine's time
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"{option} {text!r} is no time; write how long ago, such as 2h or 1d12h, a"
            " date, 2026-11-21, or a time, 2026-11-21T08:00:00Z"
        ) from error
