"""Which steps can run at the same time: how deep each lies below the roots.

Promises: in time that grows with the edges and without recursion. Knows only edges by
position; they have no cycle.
"""

from collections.abc import Iterator, Sequence


def compute_depths(needs: Sequence[Sequence[int]]) -> list[int]:
    """Return, for each position, the length of the longest way to it from a root."""
    depths = [0] * len(needs)
    for position in sort_by_needs(needs):
        depths[position] = max((depths[n] + 1 for n in needs[position]), default=0)
    return depths


def sort_by_needs(needs: Sequence[Sequence[int]]) -> Iterator[int]:
    """Yield the positions in an order in which what one needs comes before it."""
    successors: list[list[int]] = [[] for _ in needs]
    for position, wanted in enumerate(needs):
        for need in wanted:
            successors[need].append(position)
    open_needs = [len(wanted) for wanted in needs]
    ready = [position for position, count in enumerate(open_needs) if not count]
    while ready:
        position = ready.pop()
        yield position
        for after in successors[position]:
            open_needs[after] -= 1
            if not open_needs[after]:
                ready.append(after)
