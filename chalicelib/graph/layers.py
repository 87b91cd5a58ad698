"""Layered placement of a directed graph, top to bottom, after Sugiyama, Tagawa and Toda (1981).

Nodes get a layer each (the longest path from an entry), an order within the layer (barycentres),
and coordinates. An edge over several layers takes a slot of its own in each layer between, so that
it never runs through a node. Edges that lead upwards are left out and returned as `backward`.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

Size = tuple[float, float]  # width, height
Pair = tuple[str, str]  # source, target
Point = tuple[float, float]

LAYER_GAP = 42.0  # between layers; curves bend here
NODE_GAP = 28.0  # between neighbours in a layer
SLOT_WIDTH = 14.0  # of an edge that passes through a layer
_SWEEPS = 8


@dataclass(frozen=True)
class Layers:
    """`at` is the top left corner of each node; `ceiling` and `floor` bound its layer.

    `through` lists, for each forward pair, the points where it enters and leaves the layers between.
    """

    width: float
    height: float
    at: dict[str, Point]
    ceiling: dict[str, float]
    floor: dict[str, float]
    through: dict[Pair, list[Point]]
    backward: set[Pair]


def arrange(
    names: list[str],
    pairs: Iterable[Pair],
    sizes: dict[str, Size],
    weak: Collection[Pair] = frozenset(),
    aside: Literal["left", "right"] = "left",
) -> Layers:
    """Place `names` and `pairs` (each in the order to prefer) so that pairs lead downwards; the corner is (0, 0).

    The chain that begins at the first name stands in one straight column, its spine; `weak` pairs
    do not belong to it where another leads on. `aside` is where nodes beside the spine stand.
    """
    pairs = list(dict.fromkeys(pair for pair in pairs if pair[0] != pair[1]))
    backward = _backward(names, pairs)
    forward = [pair for pair in pairs if pair not in backward]
    rank = _ranks(names, forward)
    layers, links = _slots(names, forward, rank)
    spine = _spine(names[0], links, set(weak))
    for layer in layers:
        layer.sort(key=lambda node: (node in spine) == (aside == "left"))
    _order(layers, links)
    width_of = {node: sizes[node][0] if isinstance(node, str) else SLOT_WIDTH for layer in layers for node in layer}
    centre = _centres(layers, links, width_of, spine)

    left = min(centre[node] - width_of[node] / 2 for node in centre)
    right = max(centre[node] + width_of[node] / 2 for node in centre)
    tops, y = [], 0.0
    heights = [max((sizes[n][1] for n in layer if isinstance(n, str)), default=0.0) for layer in layers]
    for height in heights:
        tops.append(y)
        y += height + LAYER_GAP
    through = {}
    for pair in forward:
        middle = [(*pair, level) for level in range(rank[pair[0]] + 1, rank[pair[1]])]
        through[pair] = [
            (centre[slot] - left, edge) for slot in middle for edge in (tops[slot[2]], tops[slot[2]] + heights[slot[2]])
        ]
    return Layers(
        width=right - left,
        height=y - LAYER_GAP,
        at={n: (centre[n] - width_of[n] / 2 - left, tops[rank[n]]) for n in names},
        ceiling={n: tops[rank[n]] for n in names},
        floor={n: tops[rank[n]] + heights[rank[n]] for n in names},
        through=through,
        backward=backward,
    )


def _backward(names: list[str], pairs: list[Pair]) -> set[Pair]:
    """The pairs that close a circle, met by walking depth first in the given order."""
    following: dict[str, list[str]] = {name: [] for name in names}
    for source, target in pairs:
        following[source].append(target)
    found: set[Pair] = set()
    open_: set[str] = set()
    done: set[str] = set()
    for root in names:
        stack = [(root, iter(following[root]))] if root not in done else []
        open_.add(root)
        while stack:
            name, targets = stack[-1]
            target = next(targets, None)
            if target is None:
                open_.discard(name)
                done.add(name)
                stack.pop()
            elif target in open_:
                found.add((name, target))
            elif target not in done:
                open_.add(target)
                stack.append((target, iter(following[target])))
        open_.clear()
    return found


def _ranks(names: list[str], forward: list[Pair]) -> dict[str, int]:
    rank = dict.fromkeys(names, 0)
    for _ in names:  # at most as many rounds as there are nodes: the longest path
        for source, target in forward:
            rank[target] = max(rank[target], rank[source] + 1)
    return rank


def _slots(names: list[str], forward: list[Pair], rank: dict[str, int]) -> tuple[list[list], list[tuple]]:
    """The layers, with a slot (source, target, layer) for each layer that a pair passes, and the links between them."""
    layers: list[list] = [[] for _ in range(max(rank.values()) + 1)]
    links = []
    for source, target in forward:
        chain = [source, *((source, target, level) for level in range(rank[source] + 1, rank[target])), target]
        for slot in chain[1:-1]:
            layers[slot[2]].append(slot)
        links += itertools.pairwise(chain)
    # slots to the left where nothing else decides: edges for errors leave on the right
    for name in names:
        layers[rank[name]].append(name)
    return layers, links


def _order(layers: list[list], links: list[tuple]) -> None:
    """Sort each layer by the mean place of its neighbours, downwards and upwards in turn."""
    above: dict = {}
    below: dict = {}
    for upper, lower in links:
        above.setdefault(lower, []).append(upper)
        below.setdefault(upper, []).append(lower)
    for sweep in range(_SWEEPS):
        neighbours, through = (above, layers) if sweep % 2 == 0 else (below, layers[::-1])
        place = {node: index for layer in layers for index, node in enumerate(layer)}
        for layer in through:
            key = {}
            for node in layer:
                near = [place[other] for other in neighbours.get(node, ())]
                key[node] = sum(near) / len(near) if near else place[node]
            layer.sort(key=key.__getitem__)
            place.update({node: index for index, node in enumerate(layer)})


def _spine(first: str, links: list[tuple], weak: set[Pair]) -> set:
    """The nodes and slots from `first` on: by strong pairs, by way of states where it can, by the first of equals."""
    below: dict = {}
    for upper, lower in links:
        below.setdefault(upper, []).append(lower)

    def preference(upper, lower) -> tuple[bool, bool]:
        pair = lower[:2] if not isinstance(lower, str) else (upper, lower) if isinstance(upper, str) else upper[:2]
        return pair in weak, not isinstance(lower, str)

    spine, at = [first], first
    while at in below:
        at = min(below[at], key=lambda lower, upper=at: preference(upper, lower))
        spine.append(at)
    return set(spine)


def _centres(layers: list[list], links: list[tuple], width_of: dict, spine: set) -> dict:
    """The x of each node's centre: 0 on the spine, else near its neighbours', never overlapping the next."""
    near: dict = {node: [] for layer in layers for node in layer}
    for upper, lower in links:
        near[upper].append(lower)
        near[lower].append(upper)
    centre = dict.fromkeys(near, 0.0)
    for sweep in range(_SWEEPS * 2):
        for layer in layers if sweep % 2 == 0 else layers[::-1]:
            wanted = [
                0.0 if node in spine or not near[node] else sum(centre[other] for other in near[node]) / len(near[node])
                for node in layer
            ]
            places = dict(zip(layer, _apart(layer, wanted, width_of, spine), strict=True))
            # its weight leaves the spine a hair's breadth beside 0, and what runs along it crooked
            off = next((x for node, x in places.items() if node in spine), 0.0)
            centre |= {node: x - off for node, x in places.items()}
    return centre


def _apart(layer: list, wanted: list[float], width_of: dict, spine: set) -> list[float]:
    """The places nearest to `wanted` (weighted least squares) that keep the order and the gaps.

    With the gaps taken off, that is isotonic regression: neighbours that would cross are pooled.
    """
    offsets, at = [], 0.0
    for index, node in enumerate(layer):
        if index:
            at += (width_of[layer[index - 1]] + width_of[node]) / 2 + NODE_GAP
        offsets.append(at)
    pools: list[tuple[float, float, int]] = []  # weighted sum, weight, count
    for node, value, offset in zip(layer, wanted, offsets, strict=True):
        weight = 1e6 if node in spine else 1.0
        pools.append(((value - offset) * weight, weight, 1))
        while len(pools) > 1 and pools[-2][0] / pools[-2][1] > pools[-1][0] / pools[-1][1]:
            (sum_a, weight_a, count_a), (sum_b, weight_b, count_b) = pools[-2:]
            pools[-2:] = [(sum_a + sum_b, weight_a + weight_b, count_a + count_b)]
    flat = [total / weight for total, weight, count in pools for _ in range(count)]
    return [value + offset for value, offset in zip(flat, offsets, strict=True)]
