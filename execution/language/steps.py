"""Steps as they are written in Python.

Promises: a step says in Python what its fields say in a document, and nothing else.
Knows nothing of what they mean.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class Unwritten(Enum):
    """Stands for what is not written where None could be."""

    UNWRITTEN = "unwritten"


class NamedAction(Protocol):
    """A function that was registered as an action."""

    action_name: str


@dataclass(frozen=True)
class Step:
    """A step as it is written in Python; None stands for what is not written.

    `action` is the name of an action or a function decorated as one; or else `plan`
    names a published plan to run. `with_` is the mapping of inputs, with `${…}` in its
    texts. `needs` lists step ids; once one step has it, all must. `when` is an
    expression: where it comes to false, the step is skipped. `timeout` (of one attempt)
    and `deadline` (of all) are durations such as `30s`, `retry` is a mapping as in a
    document, `on_failure` is `abort`, `skip`, `{"fallback": id}`, `{"restore": id,
    "times": 3}` or `{"strategy": name}`, `priority` is 0 to 9. `run_on` (`failure` or
    `always`) lets the step run at the end of an execution; `undo` is a mapping with the
    action that takes back what the step did. `for_each` names a list, for each item of
    which the step is run, `max_parallel` at a time; `tolerate` (a number, or `10%`) may
    be skipped. `cache` is a mapping with a `ttl`, and perhaps a `key`: equal inputs use
    a result again. `repeat`, in place of `action` and `with_`, is a mapping with those
    of a loop, `times` and perhaps `until` and `wait`. `sleep` is a duration and
    `sleep_until` a moment that the step waits for, in place of all these. `uses` names
    what the action calls on, for which the step waits while it is paused. `wait_for` is
    the name of a signal: it waits that long for it (`timeout`), comes to its `default`
    then, and asks for a `payload`, a mapping of declarations as those of parameters.
    """

    id: str
    action: str | NamedAction | None = None
    with_: Mapping[str, object] | None = None
    needs: Sequence[str] | None = None
    queue: str | None = None
    timeout: str | None = None
    retry: Mapping[str, object] | None = None
    on_failure: str | Mapping[str, object] | None = None
    priority: int | None = None
    profile: str | None = None
    description: str | None = None
    deadline: str | None = None
    when: str | None = None
    run_on: str | None = None
    undo: Mapping[str, object] | None = None
    for_each: str | None = None
    max_parallel: int | None = None
    tolerate: int | str | None = None
    plan: str | None = None
    repeat: Mapping[str, object] | None = None
    cache: Mapping[str, object] | None = None
    sleep: str | None = None
    sleep_until: str | None = None
    uses: Sequence[str] | None = None
    wait_for: str | None = None
    default: object = Unwritten.UNWRITTEN
    payload: Mapping[str, Mapping[str, object]] | None = None

    def as_mapping(self) -> dict[str, object]:
        """Return the step as it stands in a document."""
        fields: dict[str, object] = {
            "id": self.id,
            "description": self.description,
            "action": getattr(self.action, "action_name", self.action),
            "plan": self.plan,
            "with": self.with_,
            "repeat": self.repeat,
            "sleep": self.sleep,
            "sleep_until": self.sleep_until,
            "wait_for": self.wait_for,
            "needs": self.needs,
            "when": self.when,
            "queue": self.queue,
            "priority": self.priority,
            "timeout": self.timeout,
            "deadline": self.deadline,
            "retry": self.retry,
            "on_failure": self.on_failure,
            "profile": self.profile,
            "run_on": self.run_on,
            "undo": self.undo,
            "for_each": self.for_each,
            "max_parallel": self.max_parallel,
            "tolerate": self.tolerate,
            "cache": self.cache,
            "uses": None if self.uses is None else list(self.uses),
            "payload": self.payload,
        }
        written = drop_unwritten(fields)
        if self.default is not Unwritten.UNWRITTEN:
            written["default"] = self.default
        return written


def drop_unwritten(fields: Mapping[str, object]) -> dict[str, object]:
    """Return what was written: None stands for what was not."""
    return {name: value for name, value in fields.items() if value is not None}
