"""Makes a large picture legible: like steps become one node, and rows of steps another.

    fan-outs   steps with the same words, whose neighbours are alike as well
    rows       steps that follow each other, without a branch between

Promises: what is left has no cycle, and a note says what was done. A picture that is
small enough stays as it is. Must not know any format.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace

from .pictures import Edge, Node, Picture

_MOST_ACTIONS = 3


def fold(picture: Picture, *, most_nodes: int, most_edges: int) -> Picture:
    """Return a picture of at most so many nodes and edges, as far as folding helps."""

    def fits(some: Picture) -> bool:
        return len(some.nodes) <= most_nodes and len(some.edges) <= most_edges

    folded = picture
    for turn in (_fold_alike, _fold_rows):
        if not fits(folded):
            folded = turn(folded)
    notes = list(picture.notes)
    if len(folded.nodes) < len(picture.nodes):
        nodes = "one node" if len(folded.nodes) == 1 else f"{len(folded.nodes):,} nodes"
        notes.append(f"{len(picture.nodes):,} steps drawn as {nodes}")
    if not fits(folded):
        notes.append("too few of them are alike: most programs refuse to draw so many")
    return replace(folded, notes=tuple(notes))


def _fold_alike(picture: Picture) -> Picture:
    kinds = _find_kinds(picture)
    return _merge(picture, kinds, _merge_alike)


def _find_kinds(picture: Picture) -> list[int]:
    """Return a number for each node, the same for those that nothing tells apart.

    Nodes differ by their words and their depth; then those differ whose neighbours do,
    again and again until that tells no more of them apart. A difference runs through
    the whole graph in one turn, downwards and then upwards.
    """
    needs, successors = picture.needs(), picture.successors()
    depths = picture.layers()
    order = _in_order(picture)
    numbers: dict[Hashable, int] = {}
    kinds = [
        numbers.setdefault((depths[i], node.details), len(numbers))
        for i, node in enumerate(picture.nodes)
    ]
    while True:
        finer = _tell_apart(kinds, needs, order)
        finer = _tell_apart(finer, successors, order[::-1])
        if max(finer) == max(kinds):
            return kinds
        kinds = finer


def _tell_apart(
    kinds: Sequence[int], neighbours: Sequence[Sequence[int]], order: Sequence[int]
) -> list[int]:
    """Return finer kinds: by their own, and by the finer ones of the neighbours."""
    numbers: dict[Hashable, int] = {}
    finer = [0] * len(kinds)
    for index in order:
        around = frozenset(finer[other] for other in neighbours[index])
        finer[index] = numbers.setdefault((kinds[index], around), len(numbers))
    return finer


def _fold_rows(picture: Picture) -> Picture:
    """Join each node to the one before it, where neither has another neighbour."""
    needs, successors = picture.needs(), picture.successors()
    heads = list(range(len(picture.nodes)))
    aside = {edge.after for edge in picture.edges if edge.label}
    for index in _in_order(picture):
        if index in aside:
            continue
        if len(needs[index]) == 1 and len(successors[needs[index][0]]) == 1:
            heads[index] = heads[needs[index][0]]
    return _merge(picture, heads, _merge_row)


def _in_order(picture: Picture) -> list[int]:
    depths = picture.layers()
    return sorted(range(len(depths)), key=lambda index: depths[index])


def _merge(
    picture: Picture, groups: Sequence[int], merge: Callable[[Sequence[Node]], Node]
) -> Picture:
    numbers: dict[int, int] = {}
    groups = [numbers.setdefault(group, len(numbers)) for group in groups]
    members: dict[int, list[Node]] = {}
    for index in _in_order(picture):
        members.setdefault(groups[index], []).append(picture.nodes[index])
    # arrows that are drawn as one are dashed if each of them was
    arrows: dict[tuple[int, int], Edge] = {}
    for edge in picture.edges:
        pair = (groups[edge.before], groups[edge.after])
        is_dashed = edge.is_dashed and (pair not in arrows or arrows[pair].is_dashed)
        arrows[pair] = Edge(*pair, is_dashed, edge.label)
    return replace(
        picture,
        nodes=tuple(
            merge(nodes) if len(nodes) > 1 else nodes[0]
            for _, nodes in sorted(members.items())
        ),
        edges=tuple(arrows[b, a] for b, a in sorted(arrows) if b != a),
    )


def _merge_alike(nodes: Sequence[Node]) -> Node:
    return replace(
        nodes[0],
        last=nodes[-1].last,
        count=sum(node.count for node in nodes),
        statuses=tuple(status for node in nodes for status in node.statuses),
        reason=None,
    )


def _merge_row(nodes: Sequence[Node]) -> Node:
    actions = list(dict.fromkeys(node.details[0] for node in nodes))
    more = len(actions) - _MOST_ACTIONS
    return replace(
        _merge_alike(nodes),
        details=(
            ", ".join(actions[:_MOST_ACTIONS]) + (f" and {more:,} more" * (more > 0)),
            "one after another",
        ),
        may_be_left_out=False,
    )
