"""Where nodes and edges lie: layers by the longest way, few crossings, short edges.

    layers ─▶ slots (an edge over several layers takes one in each) ─▶ order ─▶ places

Promises: boxes do not overlap, edges run from layer to layer and pass no box between,
and the same picture lies the same way. Must not know what anything looks like.
"""

import math
from bisect import bisect_right, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from .pictures import Picture

_SWEEPS = 8
_BETWEEN_LAYERS = 44.0
_BETWEEN_NODES = 22.0
_MOST_BENDS = 20_000
"""Beyond it edges go straight, and may pass behind nodes."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Box:
    """A rectangle: its left upper corner and its size."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Layout:
    """A box for each node, and for each edge the points that it runs through."""

    boxes: tuple[Box, ...]
    routes: tuple[tuple[Point, ...], ...]
    runs_down: bool
    width: float
    height: float


@dataclass(frozen=True)
class _Slots:
    """The nodes, and behind them the bends of long edges; all know their layer.

    `breadths` are their sizes across the layers, `chains` the slots of each edge.
    """

    layers: Sequence[Sequence[int]]
    breadths: Sequence[float]
    above: Sequence[Sequence[int]]
    below: Sequence[Sequence[int]]
    chains: Sequence[Sequence[int]]


def lay_out(picture: Picture, sizes: Sequence[tuple[float, float]]) -> Layout:
    """Return where the nodes of a picture lie, given width and height of each."""
    runs_down = picture.runs_down
    breadths = [width if runs_down else height for width, height in sizes]
    lengths = [height if runs_down else width for width, height in sizes]
    depths = picture.layers()
    slots = _cut_edges(picture, depths, breadths)
    centres = _place(slots, _order(slots))
    rows = _stack(depths, lengths)
    boxes = tuple(
        _turn_box(centres[i] - breadths[i] / 2, rows[depths[i]].start, size, runs_down)
        for i, size in enumerate(sizes)
    )
    routes = _route(slots, centres, lengths, rows)
    return Layout(
        boxes=boxes,
        routes=tuple(
            tuple(points if runs_down else [(y, x) for x, y in points])
            for points in routes
        ),
        runs_down=runs_down,
        width=max(box.x + box.width for box in boxes),
        height=max(box.y + box.height for box in boxes),
    )


class _Row(NamedTuple):
    """Where a layer begins and ends."""

    start: float
    end: float


def _turn_box(
    across: float, along: float, size: tuple[float, float], runs_down: bool
) -> Box:
    x, y = (across, along) if runs_down else (along, across)
    return Box(x, y, *size)


def _stack(depths: Sequence[int], lengths: Sequence[float]) -> list[_Row]:
    """Return where each layer lies."""
    longest = [0.0] * (max(depths) + 1)
    for depth, length in zip(depths, lengths, strict=True):
        longest[depth] = max(longest[depth], length)
    rows: list[_Row] = []
    start = 0.0
    for length in longest:
        rows.append(_Row(start, start + length))
        start += length + _BETWEEN_LAYERS
    return rows


def _route(
    slots: _Slots,
    centres: Sequence[float],
    lengths: Sequence[float],
    rows: Sequence[_Row],
) -> Iterator[list[Point]]:
    """Yield where each edge runs, across the layers first; straight beside nodes."""
    row_of = {slot: rows[at] for at, layer in enumerate(slots.layers) for slot in layer}
    for first, *others in slots.chains:
        leaves_at = row_of[first].start + lengths[first]
        points = [(centres[first], leaves_at), (centres[first], row_of[first].end)]
        for slot in others:
            points += [(centres[slot], at) for at in row_of[slot]]
        # the last one ends where its box begins
        yield points[:-1]


def _cut_edges(
    picture: Picture, depths: Sequence[int], breadths: Sequence[float]
) -> _Slots:
    """Give each edge a slot in every layer that it passes, if they are not too many."""
    layers: list[list[int]] = [[] for _ in range(max(depths) + 1)]
    for index, depth in enumerate(depths):
        layers[depth].append(index)
    sizes = list(breadths)
    bends = sum(depths[edge.after] - depths[edge.before] - 1 for edge in picture.edges)
    chains = []
    for before, after in (edge[:2] for edge in picture.edges):
        chain = [before]
        passed = (
            range(depths[before] + 1, depths[after]) if bends <= _MOST_BENDS else ()
        )
        for depth in passed:
            layers[depth].append(len(sizes))
            chain.append(len(sizes))
            sizes.append(0.0)
        chains.append([*chain, after])
    above: list[list[int]] = [[] for _ in sizes]
    below: list[list[int]] = [[] for _ in sizes]
    for chain in chains:
        for one, next_one in pairwise(chain):
            below[one].append(next_one)
            above[next_one].append(one)
    return _Slots(layers, sizes, above, below, chains)


def _order(slots: _Slots) -> list[list[int]]:
    """Return the slots of each layer in an order with few crossings.

    Each slot goes to the mean of its neighbours in the layer before, downwards and
    upwards in turns; the best of all turns is kept.
    """
    layers = [list(layer) for layer in slots.layers]
    best, fewest = [list(layer) for layer in layers], _count_crossings(slots, layers)
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        down = sweep % 2 == 0
        neighbours = slots.above if down else slots.below
        ranks = {slot: float(i) for layer in layers for i, slot in enumerate(layer)}
        for layer in layers if down else reversed(layers):
            means = {
                slot: _mean([ranks[n] for n in neighbours[slot]], ranks[slot])
                for slot in layer
            }
            layer.sort(key=means.__getitem__)
            ranks.update((slot, float(i)) for i, slot in enumerate(layer))
        crossings = _count_crossings(slots, layers)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    return best


def _mean(values: Sequence[float], otherwise: float) -> float:
    return math.fsum(values) / len(values) if values else otherwise


def _count_crossings(slots: _Slots, layers: Sequence[Sequence[int]]) -> int:
    crossings = 0
    ranks = {slot: i for layer in layers for i, slot in enumerate(layer)}
    for layer in layers:
        passed: list[int] = []
        for slot in layer:
            targets = sorted(ranks[below] for below in slots.below[slot])
            crossings += sum(len(passed) - bisect_right(passed, t) for t in targets)
            for target in targets:
                insort(passed, target)
    return crossings


def _place(slots: _Slots, layers: Sequence[Sequence[int]]) -> list[float]:
    """Return the middle of each slot across the layers, near its neighbours."""
    centres = [0.0] * len(slots.breadths)
    for layer in layers:
        for slot, centre in _spread(slots, layer, [0.0] * len(layer)):
            centres[slot] = centre
    for sweep in range(_SWEEPS):
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            wishes = [
                _mean(
                    [centres[n] for n in (*slots.above[slot], *slots.below[slot])],
                    centres[slot],
                )
                for slot in layer
            ]
            for slot, centre in _spread(slots, layer, wishes):
                centres[slot] = centre
    least = min(
        centre - breadth / 2
        for centre, breadth in zip(centres, slots.breadths, strict=True)
    )
    return [centre - least for centre in centres]


def _spread(
    slots: _Slots, layer: Sequence[int], wishes: Sequence[float]
) -> Iterator[tuple[int, float]]:
    """Yield places as near to the wishes as the order and the gaps allow.

    Without the room that all before it need, each may not lie left of the one before:
    neighbours whose wishes contradict that meet at the mean of them.
    """
    taken = [0.0]
    for left, right in pairwise(layer):
        half = (slots.breadths[left] + slots.breadths[right]) / 2
        taken.append(taken[-1] + half + _BETWEEN_NODES)
    blocks: list[tuple[float, int]] = []
    for wish, room in zip(wishes, taken, strict=False):
        total, count = wish - room, 1
        while blocks and blocks[-1][0] / blocks[-1][1] >= total / count:
            earlier_total, earlier_count = blocks.pop()
            total, count = total + earlier_total, count + earlier_count
        blocks.append((total, count))
    means = [total / count for total, count in blocks for _ in range(count)]
    for slot, mean, room in zip(layer, means, taken, strict=True):
        yield slot, mean + room
