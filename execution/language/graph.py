"""The edges of a plan: who waits for whom.

Promises: every edge that leads nowhere, every repeated name and every cycle is
found, in time that grows with the edges and without recursion, so that a chain
of 10,000 steps is as safe as one of ten. Works on what it understands of a faulty
document, so that these faults are reported along with all others. Knows nothing
of policies, templates or file formats.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from ..places import shown
from .fallbacks import find_fallbacks
from .findings import Findings
from .rules import Rule

_MAX_NAMED_IN_CYCLE = 12
_EVERY_STEP = -1  # all bits set


@dataclass(frozen=True)
class Graph:
    """Edges by position; `positions` holds the first step of each name.

    `ancestors` has a bit for every step that is settled before this one starts. It
    is None for a step that waits, directly or not, for a cycle, and has all bits
    where a need could not be understood, so that one fault does not cause others.
    The steps of `ending` run when all others have ended: they have no edges.
    """

    positions: dict[str, int]
    needs: tuple[tuple[int, ...], ...]
    successors: tuple[tuple[int, ...], ...]
    ancestors: tuple[int | None, ...]
    in_sequence: bool
    ending: frozenset[int] = frozenset()
    fallbacks: Mapping[int, int] = field(default_factory=dict)
    """For each fallback the step that it stands in for: it has no edges either."""

    def may_read(self, reader: int, source: int) -> bool:
        """Whether `source` is certain to be settled before `reader` starts."""
        if reader in self.ending:
            return True
        reader, source = self._stand_in(reader), self._stand_in(source)
        if self.in_sequence or source in self.ending:
            return source < reader and source not in self.ending
        before = self.ancestors[reader]
        return before is None or bool(before >> source & 1)

    def comes_before(self, earlier: int, position: int) -> bool:
        """Whether `position` is reached by way of `earlier`, or is that step itself.

        A fallback is reached by way of those that it stands in for, and of what these
        wait for; nothing else is reached by way of a fallback.
        """
        if earlier in self._trail(position):
            return True
        if earlier in self.ending or earlier in self.fallbacks:
            return False
        return position not in self.ending and self.may_read(position, earlier)

    def _stand_in(self, position: int) -> int:
        """Return the step that a fallback, or the fallback of one, stands in for."""
        return next(reversed(self._trail(position)))

    def _trail(self, position: int) -> dict[int, None]:
        """Return a step, and then those that it stands in for, one for the other."""
        trail = {position: None}
        while position in self.fallbacks and self.fallbacks[position] not in trail:
            position = self.fallbacks[position]
            trail[position] = None
        return trail

    def leaves(self) -> tuple[int, ...]:
        """Return the steps that nothing waits for."""
        return tuple(
            position
            for position, successors in enumerate(self.successors)
            if not successors
            and position not in self.ending
            and position not in self.fallbacks
        )


def build_graph(steps: Sequence[object], findings: Findings) -> Graph:
    """Return the edges of `steps` (mappings with `id` and `needs`), faults noted."""
    positions = _positions(steps, findings)
    ending = _ending(steps, findings)
    fallbacks = find_fallbacks(steps, positions, findings)
    outside = ending | fallbacks.keys()
    in_sequence = not any(
        "needs" in _fields(step)
        for position, step in enumerate(steps)
        if position not in outside
    )
    needs: list[tuple[int, ...]]
    if in_sequence:
        needs = _in_sequence(len(steps), outside)
    else:
        needs = [
            ()
            if position in outside
            else _needs(step, position, positions, findings, outside)
            for position, step in enumerate(steps)
        ]
    successors = _successors(needs)
    ancestors = _ancestors(needs, successors, _unclear(steps, needs))
    names = {position: name for name, position in positions.items()}
    for cycle in _cycles(needs, ancestors):
        message = _cycle_message(cycle, names)
        findings.add(("steps", cycle[0], "needs"), Rule.CYCLE, message)
    return Graph(
        positions,
        tuple(needs),
        tuple(successors),
        tuple(ancestors),
        in_sequence,
        ending,
        fallbacks,
    )


def _ending(steps: Sequence[object], findings: Findings) -> frozenset[int]:
    """Return the steps of the end section; note those that state needs."""
    ending = [p for p, step in enumerate(steps) if "run_on" in _fields(step)]
    for position in ending:
        if "needs" in _fields(steps[position]):
            findings.add(
                ("steps", position, "needs"),
                Rule.FIELD_CLASH,
                "cannot be stated beside `run_on`: such steps run one after another "
                "when all others have ended",
            )
    if steps and len(ending) == len(steps):
        message = "all have `run_on`; a plan needs a step that runs before its end"
        findings.add(("steps",), Rule.NO_FIRST_STEP, message)
    return frozenset(ending)


def _in_sequence(count: int, outside: frozenset[int]) -> list[tuple[int, ...]]:
    needs: list[tuple[int, ...]] = [()] * count
    run = [position for position in range(count) if position not in outside]
    for before, position in pairwise(run):
        needs[position] = (before,)
    return needs


def _fields(step: object) -> dict[str, object]:
    return step if isinstance(step, dict) else {}


def _positions(steps: Sequence[object], findings: Findings) -> dict[str, int]:
    positions: dict[str, int] = {}
    for position, step in enumerate(steps):
        name = _fields(step).get("id")
        if not isinstance(name, str):
            continue
        first = positions.setdefault(name, position)
        if first != position:
            message = f"{shown(name)} is the id of steps[{first}] already"
            findings.add(("steps", position, "id"), Rule.DUPLICATE_ID, message)
    return positions


def _needs(
    step: object,
    position: int,
    positions: dict[str, int],
    findings: Findings,
    outside: frozenset[int],
) -> tuple[int, ...]:
    fields = _fields(step)
    if fields and "needs" not in fields:
        findings.add(
            ("steps", position, "needs"),
            Rule.MISSING_NEEDS,
            "is missing: once one step has `needs`, all must; "
            "write `needs: []` for a step that waits for none",
        )
    written = fields.get("needs")
    found: set[int] = set()
    for index, name in enumerate(written if isinstance(written, list) else []):
        if not isinstance(name, str):
            continue
        need = positions.get(name)
        if need is None:
            near = findings.suggestion(name, positions)
            rule, message = Rule.UNKNOWN_STEP, f"no step is called {shown(name)}{near}"
        elif need == position:
            rule, message = Rule.CYCLE, "a step cannot need itself"
        elif need in outside:
            rule = Rule.FOREIGN_NEED
            message = (
                f"{shown(name)} runs at the end, or in place of another step; "
                "nothing waits for it"
            )
        elif need in found:
            rule, message = Rule.REPEATED_NEED, f"names {shown(name)} a second time"
        else:
            found.add(need)
            continue
        findings.add(("steps", position, "needs", index), rule, message)
    return tuple(sorted(found))


def _unclear(
    steps: Sequence[object], needs: Sequence[tuple[int, ...]]
) -> frozenset[int]:
    """Return the steps whose needs are not just those that were understood."""
    return frozenset(
        position
        for position, step in enumerate(steps)
        if len(needs[position]) != _written_needs(step)
    )


def _written_needs(step: object) -> int:
    written = _fields(step).get("needs")
    return len(written) if isinstance(written, list) else -1


def _successors(needs: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    successors: list[list[int]] = [[] for _ in needs]
    for position, wanted in enumerate(needs):
        for need in wanted:
            successors[need].append(position)
    return [tuple(followers) for followers in successors]


def _ancestors(
    needs: Sequence[tuple[int, ...]],
    successors: Sequence[tuple[int, ...]],
    unclear: frozenset[int],
) -> list[int | None]:
    """Walk the steps in an order in which needs come first; leave None in cycles.

    A set is one integer with a bit a step, which keeps 10,000 sets at 12 MB. A
    sequence states no needs, so all of it is unclear and the sets cost nothing.
    """
    ancestors: list[int | None] = [None] * len(needs)
    open_needs = [len(wanted) for wanted in needs]
    ready = [position for position, count in enumerate(open_needs) if not count]
    while ready:
        position = ready.pop()
        before = _EVERY_STEP if position in unclear else 0
        for need in needs[position]:
            before |= (ancestors[need] or 0) | 1 << need
        ancestors[position] = before
        for follower in successors[position]:
            open_needs[follower] -= 1
            if not open_needs[follower]:
                ready.append(follower)
    return ancestors


def _cycles(
    needs: Sequence[tuple[int, ...]], ancestors: Sequence[int | None]
) -> Iterator[list[int]]:
    """Yield cycles until each step that cannot start is explained by one."""
    explained: set[int] = set()
    for start, before in enumerate(ancestors):
        if before is not None:
            continue
        trail: dict[int, int] = {}
        position = start
        while position not in trail and position not in explained:
            trail[position] = len(trail)
            # of what cannot start, each step has a need that cannot start either
            position = next(need for need in needs[position] if ancestors[need] is None)
        if position in trail:
            yield list(trail)[trail[position] :]
        explained.update(trail)


def _cycle_message(cycle: Sequence[int], names: dict[int, str]) -> str:
    first = names[cycle[0]]
    shown_names = [names[position] for position in cycle[:_MAX_NAMED_IN_CYCLE]]
    if len(cycle) > _MAX_NAMED_IN_CYCLE:
        shown_names.append(f"… ({len(cycle) - _MAX_NAMED_IN_CYCLE} more)")
    path = " → ".join([*shown_names, first])
    return f"the steps wait for each other: {path}; remove one of these needs"
