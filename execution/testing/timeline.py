"""The timeline of an execution as plain data that tests compare and people read.

    run.timeline.of("parse") == ["ready", "started", "lost", "ready", "started", …]

Pure: it is made of events, which somebody else has read.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

from ..durations import write_duration
from ..results import Event

_STEP = "step."
_TELLING = ("attempt", "reason", "message", "percent", "items")
_MOST_DETAIL_CHARACTERS = 100


@dataclass(frozen=True)
class Moment:
    """One entry: what happened, to which step, and when.

    `what` is an event without its first word: `started`, `completed`. `step` is None
    for what happened to the execution; `seconds` are counted from its first event, on
    the clock of the tests.
    """

    what: str
    step: str | None
    seconds: float
    data: Mapping[str, Any]

    def __str__(self) -> str:
        """Show it on a line."""
        subject = self.step or "(execution)"
        at = f"+{write_duration(round(self.seconds, 3))}"
        return (
            f"{at:>14}  {subject:<24} {self.what:<14} {_describe(self.data)}".rstrip()
        )


class Timeline(Sequence[Moment]):
    """All that happened, in order; `str` of it is a table."""

    def __init__(self, moments: Iterable[Moment]) -> None:
        """Keep `moments`, which are in order."""
        self._moments = tuple(moments)

    @classmethod
    def from_events(cls, events: Sequence[Event]) -> "Timeline":
        """Return the timeline that the events of an execution tell."""
        return cls(
            Moment(
                event.type.partition(".")[2],
                # what comes from the execution as a whole may name a step as well
                event.step if event.type.startswith(_STEP) else None,
                (event.at - events[0].at).total_seconds(),
                event.data,
            )
            for event in events
        )

    def of(self, step: str | None = None) -> list[str]:
        """Return what happened to a step, in order; without a name, to the execution.

        The steps that a list or a loop has made are called `name[0]`, `name[1]` ….
        """
        return [moment.what for moment in self._moments if moment.step == step]

    def order(self, what: str = "completed") -> list[str]:
        """Return the steps in the order in which that happened to them.

        A step to which it has happened twice is there twice.
        """
        return [m.step for m in self._moments if m.step is not None and m.what == what]

    @overload
    def __getitem__(self, index: int) -> Moment: ...

    @overload
    def __getitem__(self, index: slice) -> "Timeline": ...

    def __getitem__(self, index: int | slice) -> "Moment | Timeline":
        """Return one entry, or several."""
        if isinstance(index, slice):
            return Timeline(self._moments[index])
        return self._moments[index]

    def __len__(self) -> int:
        """Return how many entries there are."""
        return len(self._moments)

    def __str__(self) -> str:
        """Show every entry on a line of its own."""
        return "\n".join(map(str, self._moments))

    def __repr__(self) -> str:
        """Show it as it is printed: for the report of a test that failed."""
        return f"<Timeline\n{self}\n>"


def _describe(data: Mapping[str, Any]) -> str:
    error = data.get("error")
    parts = [f"{name}={data[name]}" for name in _TELLING if data.get(name) is not None]
    if isinstance(error, Mapping):
        parts.append(f"{error.get('code')} {error.get('message')}")
    text = " ".join(" ".join(parts).split())
    return text[:_MOST_DETAIL_CHARACTERS]
