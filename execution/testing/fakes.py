"""Actions as a test wants them: the real ones, and fakes in the place of some.

A fake is found by the runner alone, in the registry of one rehearsal; nothing global
changes. It has the parameters of the action that it stands for, if that is registered,
so that inputs are judged as in production. Every call of it is written down.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import update_wrapper
from inspect import Parameter
from typing import Any, TypeAlias

from ..actions import Action, ActionRegistry
from ..context import Context
from ..conversion import dump_models
from ..errors import RehearsalError
from ..fitting import find_misfits
from ..recovery import STRATEGY_PREFIX, read_decision

Raised: TypeAlias = BaseException | type[BaseException]

_CONTEXT = Parameter("_plans_context", Parameter.POSITIONAL_ONLY)


@dataclass(frozen=True)
class FakeCall:
    """One call of a fake: which step of which execution it was for, and with what."""

    inputs: Mapping[str, Any]
    step: str
    attempt: int
    idempotency_key: str
    execution_id: str


@dataclass
class Fake:
    """What stands for an action; `calls` are in the order in which they came."""

    name: str
    calls: list[FakeCall] = field(default_factory=list)

    @property
    def inputs(self) -> list[dict[str, Any]]:
        """The inputs of each call."""
        return [dict(call.inputs) for call in self.calls]


@dataclass(frozen=True)
class Conduct:
    """What a fake does when it is called.

    Before it answers, `takes_seconds` pass on the clock of the tests. `raises` has what
    each call raises, in turn, None for one that does not; later calls raise nothing, or
    always the same, if that is `raises_last`. What does not raise asks `function`, if
    there is one, or else answers `returns`.
    """

    returns: Any = None
    function: Callable[..., Any] | None = None
    raises: Sequence[Raised | None] = ()
    raises_last: bool = False
    takes_seconds: float = 0.0

    def choose_error(self, number: int) -> Raised | None:
        """Return what call `number`, counted from 0, raises; None for nothing."""
        if number < len(self.raises):
            return self.raises[number]
        return self.raises[-1] if self.raises_last else None


def read_raises(
    raises: Raised | Iterable[Raised | None] | None,
) -> tuple[Sequence[Raised | None], bool]:
    """Return what calls raise in turn, and whether the last of it is for ever."""
    if raises is None:
        return (), False
    if isinstance(raises, BaseException | type):
        return (raises,), True
    return tuple(raises), False


class RehearsedActions(ActionRegistry):
    """The actions of a rehearsal: fakes before those that are registered."""

    def __init__(
        self, registered: ActionRegistry, pass_seconds: Callable[[float], None]
    ) -> None:
        """Stand before `registered`; time passes by `pass_seconds(seconds)`."""
        super().__init__()
        self._registered = registered
        self._pass_seconds = pass_seconds
        self._fakes: dict[str, Action] = {}
        self._version = 0

    def get(self, name: str) -> Action:
        """Return the fake or the action called `name`; raises KeyError without one."""
        if name in self._fakes:
            return self._fakes[name]
        try:
            return self._registered.get(name)
        except KeyError:
            return super().get(name)

    def describe_version(self) -> tuple[object, ...]:
        """Return what differs once workers have to publish the actions anew."""
        return (self._version, *self.list_names())

    def list_names(self) -> list[str]:
        """Return the names of all fakes and actions, in order."""
        return sorted(
            {*self._fakes, *self._registered.list_names(), *super().list_names()}
        )

    def fake(self, name: str, conduct: Conduct) -> Fake:
        """Let a fake stand for `name` from now on, in the place of an earlier one.

        Raises ActionRegistrationError for a name that no action can have, and
        RehearsalError for an answer that the action would never give.
        """
        own = _build_own(name, conduct.function)
        likeness = self._find_real(name) or own
        if likeness is not None:
            _refuse_misfit(likeness, conduct.returns)
        fake = Fake(name)
        run = _build_run(fake, conduct, own, self._pass_seconds)
        self._fakes[name] = (
            # refuses names that no action can have
            _add_to_new(name, run)
            if likeness is None
            else replace(
                likeness,
                function=_describe_as(likeness, run),
                takes_context=True,
                is_async=False,
            )
        )
        self._version += 1
        return fake

    def _find_real(self, name: str) -> Action | None:
        try:
            return self._registered.get(name)
        except KeyError:
            pass
        try:
            return super().get(name)
        except KeyError:
            return None


def _build_own(name: str, function: Callable[..., Any] | None) -> Action | None:
    if function is None:
        return None
    return _add_to_new(name, function)


def _add_to_new(name: str, function: Callable[..., Any]) -> Action:
    # a registry of its own, which finds out how the function wants to be called
    read = read_decision if name.startswith(STRATEGY_PREFIX) else dump_models
    return ActionRegistry().add(name, function, None, read_result=read)


def _refuse_misfit(real: Action, returns: object) -> None:
    schema = real.describe()["signature"].get("result")
    if returns is None or schema is None or real.name.startswith(STRATEGY_PREFIX):
        # what strategies return is read as a decision
        return
    misfits = [str(misfit.message) for misfit in find_misfits(schema, returns)]
    if misfits:
        raise RehearsalError(
            f"the fake of {real.name} would return what the action does not:"
            f" {'; '.join(misfits)}"
        )


def _build_run(
    fake: Fake,
    conduct: Conduct,
    own: Action | None,
    pass_seconds: Callable[[float], None],
) -> Callable[..., Any]:
    def run(context: Context, **inputs: Any) -> Any:
        error = conduct.choose_error(len(fake.calls))
        fake.calls.append(_note(context, inputs))
        if conduct.takes_seconds:
            pass_seconds(conduct.takes_seconds)
        if error is not None:
            raise _build_error(error, fake.name)
        return conduct.returns if own is None else own.call(context, inputs)

    return run


def _note(context: Context, inputs: Mapping[str, Any]) -> FakeCall:
    return FakeCall(
        inputs,
        context.step,
        context.attempt,
        context.idempotency_key,
        context.execution_id,
    )


def _build_error(error: Raised, name: str) -> BaseException:
    return error(f"raised by the fake of {name}") if isinstance(error, type) else error


def _describe_as(real: Action, run: Callable[..., Any]) -> Callable[..., Any]:
    """Let `run` look like the action's code to whoever asks for its parameters."""
    described = update_wrapper(run, real.function)
    described.__signature__ = real.signature.replace(  # type: ignore[attr-defined]  # what inspect looks for
        parameters=[_CONTEXT, *real.parameters]
    )
    return described


def require_one_answer(conduct: Conduct) -> None:
    """Raise RehearsalError for a fake that is told two answers."""
    if conduct.function is not None and conduct.returns is not None:
        raise RehearsalError(
            "a fake answers what its function does or what `returns` says, not both"
        )
