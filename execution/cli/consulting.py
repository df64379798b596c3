"""What the catalogue of actions has against plans, where there is a database to ask.

Promises: a catalogue that cannot be asked is no fault of a plan, and a warning. Must
not know how faults are shown.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import typer

from .. import schema
from ..admission import PlanAdmission
from ..database import Database
from ..errors import Fault, ServerError, SetupError
from ..language.breaches import Complaint
from ..masking import mask
from ..plan import Plan
from ..queries import ExecutionQueries
from ..settings import Settings
from .exits import printable
from .target import open_target


@dataclass(frozen=True)
class Advice:
    """What speaks against a plan that has no faults of its own."""

    faults: tuple[Fault, ...]
    warnings: tuple[Complaint, ...]


Consult: TypeAlias = Callable[[Plan], Advice]


@contextmanager
def open_catalogue(*, is_wanted: bool) -> Iterator[Consult]:
    """Give who knows more of plans; where no server is named, they are told nothing."""
    if not is_wanted:
        yield _know_nothing
        return
    settings = Settings.from_environment()
    if settings.database_url is None and not settings.local:
        yield _know_nothing
        return
    with ExitStack() as opened:
        try:
            queries = _connect(settings, opened)
        except (ServerError, SetupError) as error:
            _warn(error)
            yield _know_nothing
            return
        yield partial(_ask, PlanAdmission(queries, settings.check))


def _connect(settings: Settings, opened: ExitStack) -> ExecutionQueries:
    target = opened.enter_context(open_target(settings))
    if settings.database_url is None:
        # a local one is brought up to date by whoever comes first
        schema.upgrade_if_needed(target.url, target.schema)
    with closing(Database(target.url, target.schema)) as database:
        database.check()
    return opened.enter_context(closing(ExecutionQueries(target.url, target.schema)))


def _ask(admission: PlanAdmission, plan: Plan) -> Advice:
    try:
        return Advice(
            admission.find_faults(plan, is_published=True),
            admission.find_warnings(plan),
        )
    except (ServerError, SetupError) as error:
        _warn(error)
        return _know_nothing(plan)


def _know_nothing(plan: Plan) -> Advice:
    return Advice((), plan.warnings)


def _warn(error: Exception) -> None:
    reason = printable(mask(str(error)))
    typer.echo(f"warning: actions were not checked: {reason}", err=True)
