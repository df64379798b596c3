"""Whether a plan is let in: its actions are known, and their inputs fit.

Asked by submits and publications, before anything is stored. Workers publish what their
actions take, so a producer needs none of their code.

Promises: a plan that is submitted again and again is compared once in a while, not each
time; nothing is asked on the connection of a caller's transaction. Writes nothing.
"""

import time
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from .catalogue import check_inputs, check_names, check_subplans
from .errors import Fault, ParameterError, PlanValidationError
from .language.breaches import Complaint
from .language.findings import Findings
from .language.rules import Rule
from .patience import ASK_TWICE
from .plan import Plan
from .queries import ExecutionQueries
from .settings import CatalogueCheck

_FRESH_SECONDS = 60.0
"""How long a plan that was let in is not looked at again."""

_MOST_REMEMBERED = 1_000
_MOST_PRIORITY = 9


class PlanAdmission:
    """Lets plans in; safe to use from any thread."""

    def __init__(self, queries: ExecutionQueries, check: CatalogueCheck) -> None:
        """Compare plans with the catalogue that `queries` reads, as far as `check`."""
        self._queries = queries
        self._check = check
        self._admitted: dict[str, float] = {}

    def admit(
        self,
        plan: Plan,
        *,
        priority: int = 0,
        at: datetime | None = None,
        keys: Collection[str] = (),
        execution_id: str | None = None,
        is_published: bool = False,
    ) -> None:
        """Return if `plan` may be stored and begun with `priority`, `at` a moment.

        A submit that is repeated is let in as it was before, whatever the catalogue has
        become: executions stand under all of its `keys`, or under its id. Raises
        ParameterError for a priority that there is not and for a moment without a time
        zone, and PlanValidationError with everything that the catalogue has against the
        plan. One that is to be published may run itself.
        """
        if not 0 <= priority <= _MOST_PRIORITY:
            message = f"is {priority}, not 0 to 9"
            fault = Fault("priority", message, rule=Rule.WRONG_SUBMIT)
            raise ParameterError((fault,))
        refuse_naive("at", at)
        now = time.monotonic()
        if self._admitted.get(plan.digest, -_FRESH_SECONDS) > now - _FRESH_SECONDS:
            return
        if faults := self.find_faults(plan, is_published=is_published):
            if self._is_repeated(keys, execution_id):
                return
            raise PlanValidationError(faults)
        if len(self._admitted) >= _MOST_REMEMBERED:
            self._admitted.clear()
        self._admitted[plan.digest] = now

    def _is_repeated(self, keys: Collection[str], execution_id: str | None) -> bool:
        if keys:
            return ASK_TWICE(self._queries.has_begun, keys)
        return (
            execution_id is not None
            and ASK_TWICE(self._queries.get_execution_status, execution_id) is not None
        )

    def find_faults(
        self, plan: Plan, *, is_published: bool = False
    ) -> tuple[Fault, ...]:
        """Return everything that the catalogue has against a plan.

        One that is to be published may run itself.
        """
        if self._check is CatalogueCheck.OFF:
            return ()
        findings = Findings()
        wanted = {step.action for step in plan.steps if not step.is_built_in}
        signatures = ASK_TWICE(self._queries.find_signatures, wanted)
        if len(signatures) < len(wanted):
            known = ASK_TWICE(self._queries.list_action_names)
            if known or self._check is CatalogueCheck.STRICT:
                check_names(plan.steps, known, findings)
        check_inputs(plan.steps, signatures, findings)
        if subplans := {step.subplan for step in plan.steps if step.subplan}:
            declared = ASK_TWICE(self._queries.find_subplans, subplans)
            if is_published:
                declared |= _declare(plan)
            missing = subplans - declared.keys()
            names = ASK_TWICE(self._queries.list_plan_names) if missing else ()
            check_subplans(plan.steps, declared, names, findings)
        return plan.locate(findings)

    def find_warnings(self, plan: Plan) -> tuple[Complaint, ...]:
        """Return what is likely to be regretted, knowing the timeouts of actions."""
        if self._check is CatalogueCheck.OFF:
            return plan.warnings
        wanted = {step.action for step in plan.steps}
        return plan.warn_knowing(ASK_TWICE(self._queries.list_timed_actions, wanted))


def refuse_naive(name: str, moment: datetime | None) -> None:
    """Raise ParameterError for what is no moment, or one whose time zone is unknown."""
    if moment is None:
        return
    if not isinstance(moment, datetime):
        message = f"must be a datetime, and is of type {type(moment).__name__}"
    elif moment.tzinfo is None or moment.utcoffset() is None:
        message = (
            f"is {moment.isoformat(sep=' ')}, and nobody knows of which time zone; give"
            " it one, such as datetime(…, tzinfo=ZoneInfo('Europe/Berlin'))"
        )
    else:
        return
    raise ParameterError((Fault(name, message, rule=Rule.WRONG_SUBMIT),))


def _declare(plan: Plan) -> dict[str, Mapping[str, Any]]:
    """Return what a plan declares, by the names that it will be known by."""
    declared: Any = plan.definition.get("parameters", {})
    versions = [] if plan.version is None else [f"{plan.name}@{plan.version}"]
    return dict.fromkeys([plan.name, *versions], declared)
