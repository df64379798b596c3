"""From a canvas of Celery's to the fields of a plan, and to what is lost on the way.

    signature ─▶ a step            chain ─▶ steps that wait for one another
    group ─▶ steps side by side    chord ─▶ these, and one that is given their results
    link ─▶ a step beside what comes next, whose failure is skipped

A canvas is nothing but mappings, the signatures of Celery as well as what JSON has made
of them, and nothing of Celery is imported.

Promises: everything that a plan cannot say is listed with its place, such as
`chain[2].options.link_error`; the rest gives the results that Celery would. Must not
know whether losses are acceptable, nor what makes a plan valid.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..errors import Fault
from .canvas_parts import Part, list_links, unroll
from .canvas_tasks import (
    Origin,
    find_task,
    name_arguments,
    read_policies,
    read_retry,
)
from .rules import Rule
from .texts import MAX_STEP_ID, is_step_id

_MOST_NESTING = 100
_CELERYS_OWN = "celery."
_NOT_IN_IDS = re.compile(r"[^a-z0-9]+")
_STEP_PLACE = re.compile(
    r"steps\[(\d+)\](?:\.with\.(\w+))?(?:\[(\d+)\])?(.*)", re.DOTALL
)


@dataclass(frozen=True)
class DrawnPlan:
    """Fields of a plan, what they leave out, and where the steps are in the canvas.

    `origins` has, for each step, its place and those of its inputs within that.
    """

    fields: Mapping[str, object]
    losses: tuple[Fault, ...]
    origins: tuple[tuple[str, Mapping[str, Origin]], ...]

    def locate(self, fault: Fault) -> Fault:
        """Return a fault of the plan with its place in the canvas."""
        found = _STEP_PLACE.fullmatch(fault.place)
        if found is None:
            return fault
        step, name, item, rest = found.groups()
        place, inputs = self.origins[int(step)]
        inner = "" if item is None else f"[{item}]"
        match inputs.get(name, "" if name is None else f".{name}"):
            case str() as origin:
                inner = origin + inner
            case origins:
                inner = origins[int(item or 0)]
        return replace(fault, place=f"{place}{inner}{rest}")


def draw_plan(canvas: object) -> DrawnPlan:
    """Return the steps and the result that a canvas makes, as fields of a document."""
    drawing = _Drawing()
    root = Part(canvas, "")
    root = replace(root, place=root.kind)
    tail = drawing.draw(root, _Tail())
    fields: dict[str, object] = {"steps": drawing.steps}
    if tail.given:
        fields["result"] = tail.given[0]
    return DrawnPlan(fields, tuple(drawing.losses), tuple(drawing.origins))


@dataclass(frozen=True)
class _Tail:
    """Where a part ends: what follows waits for steps, and is given a value, if any."""

    needs: tuple[str, ...] = ()
    given: tuple[object, ...] = ()


@dataclass
class _Drawing:
    """What has been drawn so far."""

    steps: list[dict[str, object]] = field(default_factory=list)
    losses: list[Fault] = field(default_factory=list)
    origins: list[tuple[str, Mapping[str, Origin]]] = field(default_factory=list)
    _counts: dict[str, int] = field(default_factory=dict)

    def lose(self, place: str, message: str) -> None:
        """Note that what stands at `place` is not in the plan."""
        self.losses.append(Fault(place, message, rule=Rule.CANVAS_LOSS))

    def draw(self, part: Part, after: _Tail) -> _Tail:
        """Draw what comes `after` that tail, and return where it ends."""
        if not part.is_readable:
            self.lose(part.place, "is no signature of a task")
            return _Tail(after.needs)
        if part.depth > _MOST_NESTING:
            self.lose(part.place, f"is nested deeper than {_MOST_NESTING} levels")
            return _Tail(after.needs)
        if part.signature.get("immutable"):
            after = _Tail(after.needs)
        stated = read_policies(part.signature, part.app, part.place, self.lose)
        # what is set for the whole wins over what its tasks have set
        part = replace(part, policies={**stated, **part.policies})
        tail = self._draw_kind(part, after)
        self._draw_links(part, tail)
        return tail

    def _draw_kind(self, part: Part, after: _Tail) -> _Tail:
        if part.kind == "task":
            return self._draw_task(part, after)
        self._lose_partials(part)
        match part.kind:
            case "chain":
                return self._draw_chain(part, after)
            case "chord":
                return self._draw_chord(part, after)
            case _:
                return self._draw_members(part, after)

    def _draw_chain(self, part: Part, tail: _Tail) -> _Tail:
        # of an empty group nothing is left, unless there is nothing else
        filled = [m for m in part.members if m.kind != "group" or m.members]
        links = [unroll(member) for member in filled or part.members[:1]]
        for index, member in enumerate(links):
            if index > 0:
                # what is set for a chain as a whole is set for its first task
                member = replace(member, policies={})
            if index < len(links) - 1:
                self._lose_order(member)
            tail = self.draw(member, tail)
        return tail

    def _draw_chord(self, part: Part, after: _Tail) -> _Tail:
        kwargs = part.signature["kwargs"]
        header = part.enclose(kwargs.get("header"), f"{part.place}.header")
        around = part
        if header.is_readable:
            stated = read_policies(
                header.signature, header.app, header.place, self.lose
            )
            around = replace(part, policies={**stated, **part.policies})
        self._lose_order(part)
        tail = self._draw_members(around, after)
        if kwargs.get("body") is None:
            self.lose(f"{part.place}.body", "is missing; make the chord a group")
            return tail
        return self.draw(part.enclose(kwargs["body"], f"{part.place}.body"), tail)

    def _draw_members(self, part: Part, after: _Tail) -> _Tail:
        needs: dict[str, None] = {}
        values: list[object] = []
        for member in part.members:
            tail = self.draw(member, after)
            needs.update(dict.fromkeys(tail.needs))
            for value in tail.given:
                if member.kind == "group" and isinstance(value, list):
                    # a group within a group is part of it
                    values += value
                else:
                    values.append(value)
        return _Tail(tuple(needs) or after.needs, (values,))

    def _draw_task(self, part: Part, after: _Tail) -> _Tail:
        name = part.signature["task"]
        if name.startswith(_CELERYS_OWN):
            self.lose(
                part.place, f"{name} is Celery's own, and plans have none like it"
            )
            return _Tail(after.needs)
        task = find_task(name, part.app)
        inputs = name_arguments(
            part.signature, after.given, task, part.place, self.lose
        )
        step_id = self._draw_id(name)
        self.steps.append(
            {
                "id": step_id,
                "action": name,
                "with": {key: value for key, (value, _) in inputs.items()},
                "needs": list(after.needs),
                **part.policies,
                **read_retry(task),
            }
        )
        self.origins.append(
            (part.place, {k: where for k, (_, where) in inputs.items()})
        )
        return _Tail((step_id,), (f"${{steps.{step_id}.result}}",))

    def _draw_links(self, part: Part, tail: _Tail) -> None:
        if part.kind == "group" and part.signature["options"].get("link"):
            self.lose(f"{part.place}.options.link", "follows no group; use a chord")
            return
        for place, signature in list_links(part):
            begun = len(self.steps)
            self.draw(replace(part.enclose(signature, place), policies={}), tail)
            for step in self.steps[begun:]:
                # in Celery nobody waits for it, or hears of its failure
                step["on_failure"] = "skip"

    def _draw_id(self, task: str) -> str:
        """Return an id that no step has yet, made of the last part of a task's name."""
        last = task.rpartition(".")[2].lower()
        base = _NOT_IN_IDS.sub("_", last).strip("_")[:MAX_STEP_ID]
        if not is_step_id(base):
            base = f"step_{base}".rstrip("_")[:MAX_STEP_ID]
        while True:
            count = self._counts[base] = self._counts.get(base, 0) + 1
            suffix = f"_{count}" if count > 1 else ""
            drawn = base[: MAX_STEP_ID - len(suffix)] + suffix
            if not suffix or drawn not in self._counts:
                self._counts.setdefault(drawn, 1)
                return drawn

    def _lose_partials(self, part: Part) -> None:
        for inner in part.list_partials():
            self.lose(inner, "is given to a whole; give it to a task of it instead")

    def _lose_order(self, header: Part) -> None:
        """Note each group whose results Celery would hand on from last to first."""
        members = header.members if header.kind in ("group", "chord") else ()
        for member in members:
            if member.kind == "group" and len(member.members) > 1:
                self.lose(
                    member.place,
                    "is a group in a header: Celery hands its results on backwards,"
                    " a plan in order; put its tasks into the header themselves",
                )
