"""Dependencies: what steps use, paused and resumed as one, by people or by failures.

Promises: after a pause has returned no step starts that uses it; those that would wait,
and use up neither attempts nor their time. A resume tries it with one step first.
"""

import uuid
from collections.abc import Sequence
from dataclasses import replace

from .dependencies import (
    NAME_RULE,
    DependencyGuard,
    DependencySummary,
    is_dependency_name,
)
from .dependency_records import DependencyRecords, PauseAnswer, ResumeAnswer
from .errors import Fault, ParameterError
from .language.rules import Rule
from .parking import ParkedExecutions
from .patience import ASK_TWICE
from .places import nearest
from .trials import DependencyTrials

_MOST_RELEASED_EXECUTIONS = 100
"""What the caller of a resume lets go on itself; the reconcilers do the rest."""

_NO_GUARD = DependencyGuard()


class GuardedDependencies:
    """What `ExecutionEngine` can do with what steps use."""

    _dependencies: DependencyRecords
    _parking: ParkedExecutions

    def pause_dependency(
        self, name: str, *, by: str | None = None, reason: str | None = None
    ) -> PauseAnswer:
        """Start no step that uses `name`, nor another attempt of one, until a resume.

        Also steps of rollbacks and end sections wait. What runs finishes. A dependency
        that failures have paused is not tried by itself any more. The answer says if no
        plan and no action is known to use it. Raises ParameterError for what cannot be
        a name.
        """
        _require_name(name)
        answer = ASK_TWICE(
            self._dependencies.pause,
            name,
            act_id=str(uuid.uuid4()),
            by=by,
            reason=reason,
        )
        used = ASK_TWICE(self._dependencies.list_used)
        if name in used:
            return answer
        warning = f"no plan and no action is known to use {name!r}{nearest(name, used)}"
        return replace(answer, warning=warning)

    def resume_dependency(
        self,
        name: str,
        *,
        at_once: bool = False,
        by: str | None = None,
        reason: str | None = None,
    ) -> ResumeAnswer:
        """Let one step go on that waits for `name`, and if that is well, the others.

        They go on in a ramp: more and more of them, as long as few fail. `at_once` lets
        all of them go on now. Raises ParameterError for what cannot be a name.
        """
        _require_name(name)
        answer = ASK_TWICE(
            self._dependencies.resume,
            name,
            act_id=str(uuid.uuid4()),
            at_once=at_once,
            by=by,
            reason=reason,
        )
        # the reconcilers go on with it; the first of them need not wait for a look
        DependencyTrials(self._dependencies, self._parking).try_settle(name)
        self._parking.try_release(_MOST_RELEASED_EXECUTIONS)
        return answer

    def guard_dependency(
        self,
        name: str,
        *,
        pause_at: float,
        of_last: int = _NO_GUARD.of_last,
        window_seconds: float | None = None,
        cooldown_seconds: float = _NO_GUARD.cooldown_seconds,
        most_cooldown_seconds: float | None = None,
        canary_seconds: float = _NO_GUARD.canary_seconds,
        ramp_seconds: float = _NO_GUARD.ramp_seconds,
        on: Sequence[str] = (),
        not_on: Sequence[str] = (),
        by: str | None = None,
        reason: str | None = None,
    ) -> None:
        """Pause `name` by itself when a share of its last attempts have failed.

        That is when `pause_at` of the `of_last` attempts of steps that use it have, all
        of them within `window_seconds` if that is stated. It is tried again after
        `cooldown_seconds`, and after twice as long each time it is paused again, up
        to `most_cooldown_seconds`: by default twenty times as long. The first step may
        take `canary_seconds`; then more go on every `ramp_seconds`. `on` and `not_on`
        name errors as in a retry. Raises ParameterError with all that is wrong.
        """
        _require_name(name)
        longest = most_cooldown_seconds
        guard = DependencyGuard(
            pause_at=pause_at,
            of_last=of_last,
            window_seconds=window_seconds,
            cooldown_seconds=cooldown_seconds,
            most_cooldown_seconds=20 * cooldown_seconds if longest is None else longest,
            canary_seconds=canary_seconds,
            ramp_seconds=ramp_seconds,
        )
        guard = replace(guard, on=tuple(on), not_on=tuple(not_on))
        _require_sound(guard)
        ASK_TWICE(self._dependencies.guard, name, guard, by=by, reason=reason)

    def unguard_dependency(
        self, name: str, *, by: str | None = None, reason: str | None = None
    ) -> bool:
        """Let only people pause `name`; say whether it was guarded."""
        _require_name(name)
        return ASK_TWICE(self._dependencies.unguard, name, by=by, reason=reason)

    def list_dependencies(self) -> tuple[DependencySummary, ...]:
        """Return what was paused or guarded once, those first that are not free."""
        return self._dependencies.list_all()


def _require_name(name: str) -> None:
    if not is_dependency_name(name):
        message = f"{name!r} {NAME_RULE}"
        raise ParameterError((Fault("uses", message, rule=Rule.WRONG_SUBMIT),))


def _require_sound(guard: DependencyGuard) -> None:
    faults = guard.find_faults()
    if faults:
        raise ParameterError(
            tuple(
                Fault(field, message, rule=Rule.WRONG_SUBMIT)
                for field, message in faults.items()
            )
        )
