"""Finds out what the imports between packages say about a library.

Promises: the same census gives the same findings in the same order; ties go by name.
An arrow counts once, however many statements make it; arrows of a package to itself
are none. *Eager* arrows are those that importing the package follows at once.

Must not know how imports were found, nor how findings are shown.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from .tally import Census

Graph = Mapping[str, AbstractSet[str]]


@dataclass(frozen=True, slots=True)
class Findings:
    """What the import graph says; ranked pairs are (name, count), the largest first."""

    arrows: int
    eager_arrows: int
    most_imported: tuple[tuple[str, int], ...]
    most_importing: tuple[tuple[str, int], ...]
    farthest_reaching: tuple[tuple[str, int], ...]
    knots: tuple[tuple[str, ...], ...]
    eager_knots: tuple[tuple[str, ...], ...]
    unimported: tuple[str, ...]
    foreign: tuple[str, ...]


def read_imports(
    census: Census, packages: Iterable[str], sourceless: Iterable[str]
) -> Findings:
    """Return the findings; what is in neither list is foreign to the library."""
    with_source = frozenset(packages)
    library = with_source | frozenset(sourceless)
    imports = census.imports.items()
    every = _graph(edge for edge, _ in imports if edge[1] in library)
    eager = _graph(edge for edge, n in imports if n.eager and edge[1] in library)
    importers = _graph((t, s) for s, targets in every.items() for t in targets)
    reached = {name: _reachable(eager, name) - {name} for name in eager}
    return Findings(
        arrows=sum(map(len, every.values())),
        eager_arrows=sum(map(len, eager.values())),
        most_imported=_ranked(importers),
        most_importing=_ranked(every),
        farthest_reaching=_ranked(reached),
        knots=find_knots(every),
        eager_knots=find_knots(eager),
        unimported=tuple(sorted(with_source - importers.keys())),
        foreign=tuple(sorted({target for (_, target), _ in imports} - library)),
    )


def find_knots(graph: Graph) -> tuple[tuple[str, ...], ...]:
    """Return the groups in which everything imports everything, the largest first."""
    reached = {name: _reachable(graph, name) for name in graph}
    knots = {
        tuple(sorted(m for m in reached[name] if name in reached.get(m, ())))
        for name in graph
        if name in reached[name]
    }
    return tuple(sorted(knots, key=lambda knot: (-len(knot), knot)))


def _graph(edges: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    graph: defaultdict[str, set[str]] = defaultdict(set)
    for source, target in edges:
        graph[source].add(target)
    return dict(graph)


def _reachable(graph: Graph, start: str) -> set[str]:
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        fresh = graph.get(waiting.pop(), frozenset()) - reached
        reached |= fresh
        waiting.extend(fresh)
    return reached


def _ranked(groups: Graph) -> tuple[tuple[str, int], ...]:
    sizes = ((name, len(group)) for name, group in groups.items())
    return tuple(sorted(sizes, key=lambda pair: (-pair[1], pair[0])))
