"""All of a plan, of a tag, of a queue: paused and resumed as one.

Promises: after a pause has returned no step of it starts, those of executions submitted
later included; what runs goes on to its end. A resume lets everything go on where it
stopped: the caller sends the first of it, the reconcilers the rest.
"""

import uuid
from dataclasses import replace

from .errors import Fault, ParameterError, PlanNotFoundError
from .holds import Hold, HoldKind
from .inspection import InspectedExecutions
from .language.rules import Rule
from .parking import ParkedExecutions
from .patience import ASK_TWICE
from .places import nearest
from .receipts import HoldAnswer

_MOST_RUNNING_STEPS = 1_000
_MOST_RELEASED_EXECUTIONS = 100
"""What the caller of a resume lets go on itself; the reconcilers do the rest."""


class HeldExecutions(InspectedExecutions):
    """What `ExecutionEngine` can pause and resume as a whole."""

    _parking: ParkedExecutions

    def pause_plan(
        self, name: str, *, by: str | None = None, reason: str | None = None
    ) -> HoldAnswer:
        """Start no step of executions of a plan, in any version, until its resume.

        Those that are submitted later begin, and wait. What runs finishes; the answer
        names it. So does the end of an execution: its rollback and its end section run.
        Raises PlanNotFoundError for a name that no plan has.
        """
        self._require_plan(name)
        return self._hold(HoldKind.PLAN, name, by, reason)

    def resume_plan(
        self, name: str, *, by: str | None = None, reason: str | None = None
    ) -> HoldAnswer:
        """Let executions of a plan go on where `pause_plan` stopped them."""
        return self._end_hold(HoldKind.PLAN, name, by, reason)

    def pause_tag(
        self, tag: str, *, by: str | None = None, reason: str | None = None
    ) -> HoldAnswer:
        """Start no step of executions with a tag until its resume; see `pause_plan`."""
        return self._hold(HoldKind.TAG, tag, by, reason)

    def resume_tag(
        self, tag: str, *, by: str | None = None, reason: str | None = None
    ) -> HoldAnswer:
        """Let executions with a tag go on where `pause_tag` stopped them."""
        return self._end_hold(HoldKind.TAG, tag, by, reason)

    def pause_queue(
        self, queue: str, *, by: str | None = None, reason: str | None = None
    ) -> HoldAnswer:
        """Start no step in a queue until its resume, whichever execution it is of.

        Steps of rollbacks and end sections wait as well: what they need is what the
        queue leads to. The answer says if no worker serves it.
        """
        answer = self._hold(HoldKind.QUEUE, queue, by, reason)
        served = {one for worker in self._list_living() for one in worker.queues}
        if queue in served:
            return answer
        return replace(
            answer,
            warning=f"no worker serves queue {queue!r}{nearest(queue, served)}",
        )

    def resume_queue(
        self, queue: str, *, by: str | None = None, reason: str | None = None
    ) -> HoldAnswer:
        """Let the steps in a queue go on where `pause_queue` stopped them."""
        return self._end_hold(HoldKind.QUEUE, queue, by, reason)

    def list_holds(self) -> tuple[Hold, ...]:
        """Return what is paused as a whole, and by whom, the oldest first."""
        return self._repository.list_holds()

    def _hold(
        self, kind: HoldKind, name: str, by: str | None, reason: str | None
    ) -> HoldAnswer:
        if not name.strip():
            message = f"a pause of nothing: name the {kind}"
            raise ParameterError((Fault(kind, message, rule=Rule.WRONG_SUBMIT),))
        answer = ASK_TWICE(
            self._repository.set_hold,
            kind,
            name,
            hold_id=str(uuid.uuid4()),
            by=by,
            reason=reason,
        )
        running = self._repository.list_running_under(
            kind, name, most=_MOST_RUNNING_STEPS
        )
        return replace(answer, running_steps=running)

    def _end_hold(
        self, kind: HoldKind, name: str, by: str | None, reason: str | None
    ) -> HoldAnswer:
        answer = ASK_TWICE(
            self._repository.end_hold,
            kind,
            name,
            resume_id=str(uuid.uuid4()),
            by=by,
            reason=reason,
        )
        # even if another one has ended it: who did may have died since
        self._parking.try_release(_MOST_RELEASED_EXECUTIONS)
        return answer

    def _require_plan(self, name: str) -> None:
        if not self._repository.has_plan(name):
            near = nearest(name, self._repository.list_known_plans())
            raise PlanNotFoundError(
                f"no plan {name!r} was ever submitted or published{near}"
            )
