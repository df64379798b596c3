"""Which steps lie behind which: all ways to one lead through the other.

    roots ─▶ gate ─┬▶ a ─┐
                   └▶ b ─┴▶ behind the gate, as a and b are

Promises: time and memory that grow with the steps and edges, for a graph of any depth
whose joins are few or shallow; an answer takes no time at all. Knows only edges by
position; they have no cycle.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Self

from .waves import sort_by_needs


@dataclass(frozen=True)
class Gates:
    """The steps, numbered so that those behind one follow it without a gap."""

    numbers: Sequence[int]
    sizes: Sequence[int]

    @classmethod
    def find(cls, needs: Sequence[Sequence[int]]) -> Self:
        """Number the steps of a graph, given what each of them needs."""
        order = list(sort_by_needs(needs))
        gates = _find_nearest(needs, order)
        sizes = [1] * len(needs)
        for position in reversed(order):
            gate = gates[position]
            if gate is not None:
                sizes[gate] += sizes[position]
        numbers = [0] * len(needs)
        free = [0] * len(needs)
        total = 0
        for position in order:
            gate = gates[position]
            if gate is None:
                numbers[position] = total
                total += sizes[position]
            else:
                numbers[position] = free[gate]
                free[gate] += sizes[position]
            free[position] = numbers[position] + 1
        return cls(numbers, sizes)

    def is_behind(self, position: int, gate: int) -> bool:
        """Say whether all ways to a step lead through `gate`, or it is that itself."""
        distance = self.numbers[position] - self.numbers[gate]
        return 0 <= distance < self.sizes[gate]


def _find_nearest(
    needs: Sequence[Sequence[int]], order: Sequence[int]
) -> list[int | None]:
    """Return, for each step, the last one before it that it lies behind, if any."""
    gates: list[int | None] = [None] * len(needs)
    levels = [0] * len(needs)

    def meet(one: int | None, other: int | None) -> int | None:
        while one is not None and other is not None and one != other:
            if levels[one] < levels[other]:
                other = gates[other]
            else:
                one = gates[one]
        return one if one == other else None

    for position in order:
        wanted: list[int | None] = list(needs[position])
        gate = reduce(meet, wanted) if wanted else None
        gates[position] = gate
        levels[position] = 0 if gate is None else levels[gate] + 1
    return gates
