"""Where the states and the edges of a machine go.

The states that can lead to success stand in the left column. Those that only a failure leads to,
or that lead only to one, stand right of it in groups; the channel between carries the edges from
column to column. Catch edges to the same state share one track there, so that the dozen of them in
a real machine reads as one rail. Machines inside a Map or Parallel are laid out first, the same
way, and placed inside its box.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from chalicelib import asl
from chalicelib.asl import CATCH, Edge
from chalicelib.graph import layers
from chalicelib.graph.layers import Layers, Point, Size

PADDING = 18.0  # inside a container, around its machine
BRANCH_GAP = 24.0  # between the branches of a Parallel
GROUP_GAP = 46.0  # between groups of the right column
CHANNEL_MARGIN = 20.0  # between a column and the first track
TRACK_GAP = 14.0
PORT_STEP = 26.0  # between two edges that join the same two states
CORNER = 13.0  # distance of a side port from the box's lower or upper edge


@dataclass(frozen=True)
class Box:
    name: str
    x: float
    y: float
    width: float
    height: float
    depth: int = 0

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def bottom(self) -> float:
        return self.y + self.height

    @property
    def middle(self) -> float:
        return self.y + self.height / 2

    @property
    def centre(self) -> float:
        return self.x + self.width / 2


@dataclass(frozen=True)
class Route:
    """An edge's way: straight between points that share x or y, else a curve that starts and ends upright.

    From the point with the index `joins` on, it runs along a track that edges to the same state share.
    """

    edge: Edge
    points: tuple[Point, ...]
    joins: int | None = None


@dataclass
class Layout:
    width: float
    height: float
    boxes: dict[str, Box] = field(default_factory=dict)
    routes: list[Route] = field(default_factory=list)


@dataclass(frozen=True)
class _Placed:
    """Boxes that were layered together, `x`, `y` being where their corner went."""

    layers: Layers
    x: float
    y: float

    def ceiling(self, name: str) -> float:
        return self.layers.ceiling[name] + self.y

    def floor(self, name: str) -> float:
        return self.layers.floor[name] + self.y


def lay_out(machine: dict, size: Callable[[str], Size], header: float) -> Layout:
    """Lay out a machine with all inside it; the corner is (0, 0).

    `size` gives the box of a state without machines inside, and the least size of one with;
    `header` is the height kept free at the top of the latter.
    """
    return _Machine(machine, size, header).layout()


def unique_edges(machine: dict) -> list[Edge]:
    """The edges to draw: one per source, target and whether it is a Catch."""
    seen: dict[tuple, Edge] = {}
    for edge in asl.edges(machine):
        seen.setdefault((edge.source, edge.target, edge.kind == CATCH), edge)
    return list(seen.values())


class _Machine:
    def __init__(self, machine: dict, size: Callable[[str], Size], header: float):
        self._states = machine["States"]
        self._start = machine["StartAt"]
        self._header = header
        self._edges = unique_edges(machine)
        self._inside = {n: [lay_out(m, size, header) for m in asl.inner(s)] for n, s in self._states.items()}
        self._sizes = {name: self._size(name, size(name)) for name in self._states}
        self._boxes: dict[str, Box] = {}
        self._placed: dict[str, _Placed] = {}  # per state
        self._column: dict[str, int] = {}
        self._channel = 0.0  # x of its first track
        self._routes: list[Route] = []

    def layout(self) -> Layout:
        left, groups = self._columns()
        self._column = {name: 0 if name in left else 1 for name in self._states}
        in_columns, across = self._split(left, groups)
        back_left, back_right, width = self._place(left, groups, in_columns, across)
        for edge in in_columns:
            self._down(edge, back_left, back_right)
        self._across(across)
        layout = Layout(width, max(box.bottom for box in self._boxes.values()), dict(self._boxes), self._routes)
        for name, machines in self._inside.items():
            self._put_inside(layout, self._boxes[name], machines)
        return layout

    # --- columns -------------------------------------------------------------------------

    def _columns(self) -> tuple[list[str], list[list[str]]]:
        """The states of the left column, and the groups of the right one, in the order they are written."""
        onward = [edge for edge in self._edges if edge.kind != CATCH]
        reached = _reach({self._start}, [(e.source, e.target) for e in onward])
        good = {n for n, s in self._states.items() if s.get("End") or s["Type"] == "Succeed"} & reached
        leads_to_good = _reach(good, [(e.target, e.source) for e in onward])
        left = (reached & leads_to_good) or reached
        rest = [name for name in self._states if name not in left]
        # a group holds together by what leads on; by Catch only among states that nothing else leads to
        handlers = set(rest) - reached
        joins = [
            (e.source, e.target)
            for e in self._edges
            if {e.source, e.target} <= set(rest) and (e.kind != CATCH or {e.source, e.target} <= handlers)
        ]
        groups: list[list[str]] = []
        for name in rest:
            if not any(name in group for group in groups):
                together = _reach({name}, joins + [(b, a) for a, b in joins])
                groups.append([n for n in rest if n in together])
        return [name for name in self._states if name in left], groups

    def _split(self, left: list[str], groups: list[list[str]]) -> tuple[list[Edge], list[Edge]]:
        """The edges drawn within a column, and those that go through the channel."""
        within, across = [], []
        handlers = [set(g) for g in groups]
        for edge in self._edges:
            pair = {edge.source, edge.target}
            together = pair <= set(left) and edge.kind != CATCH
            grouped = any(pair <= group for group in handlers)
            (within if (together or grouped) and edge.source != edge.target else across).append(edge)
        return within, across

    # --- boxes ---------------------------------------------------------------------------

    def _size(self, name: str, least: Size) -> Size:
        if not (inside := self._inside[name]):
            return least
        width = sum(part.width for part in inside) + BRANCH_GAP * (len(inside) - 1) + 2 * PADDING
        return max(width, least[0]), max(part.height for part in inside) + self._header + PADDING

    def _place(self, left, groups, within, across) -> tuple[float, float, float]:
        """Fill in the boxes; returns the x of the innermost tracks of the margins, and the whole width."""
        # what a Choice does by default is the usual way, which the straight column is for
        usual_first = sorted(within, key=lambda e: e.target != self._states[e.source].get("Default", e.target))
        arranged = layers.arrange(left, [(e.source, e.target) for e in usual_first if e.source in left], self._sizes)
        margin = TRACK_GAP * len({target for _, target in arranged.backward})
        self._put(arranged, margin, 0.0)
        self._channel = margin + arranged.width + CHANNEL_MARGIN
        if not groups and not across:
            return margin - TRACK_GAP, 0.0, margin + arranged.width
        tracks = len(self._tracks(across))
        x = self._channel + CHANNEL_MARGIN + TRACK_GAP * max(tracks - 1, 0)
        if not groups:
            return margin - TRACK_GAP, 0.0, x - CHANNEL_MARGIN
        y, width, backs = 0.0, 0.0, 0
        for wanted, group in sorted(((self._anchor(g, across), g) for g in groups), key=lambda pair: pair[0]):
            pairs = [(e.source, e.target) for e in within if e.source in group]
            strong = {(e.source, e.target) for e in within if e.kind != CATCH}
            arranged = layers.arrange(group, pairs, self._sizes, weak=set(pairs) - strong, aside="right")
            y = max(y, wanted)
            self._put(arranged, x, y)
            y += arranged.height + GROUP_GAP
            width = max(width, arranged.width)
            backs = max(backs, len({target for _, target in arranged.backward}))
        return margin - TRACK_GAP, x + width + TRACK_GAP, x + width + TRACK_GAP * backs

    def _put(self, arranged: Layers, x: float, y: float) -> None:
        for name, (left, top) in arranged.at.items():
            self._boxes[name] = Box(name, x + left, y + top, *self._sizes[name])
            self._placed[name] = _Placed(arranged, x, y)

    def _anchor(self, group: list[str], across: list[Edge]) -> float:
        """The y for a group: level with what leads to it, below it where that is a Catch."""
        into = [e for e in across if e.target in group and e.source in self._boxes]
        onward = [e for e in into if e.kind != CATCH]
        if onward:
            first = min(onward, key=lambda e: self._boxes[e.source].y)
            return max(self._boxes[first.source].middle - self._sizes[first.target][1] / 2, 0.0)
        return min((self._boxes[e.source].bottom for e in into), default=0.0)

    def _put_inside(self, layout: Layout, box: Box, machines: list[Layout]) -> None:
        used = sum(part.width for part in machines) + BRANCH_GAP * (len(machines) - 1)
        x, y = box.x + (box.width - used) / 2, box.y + self._header
        for part in machines:
            for name, inner in part.boxes.items():
                layout.boxes[name] = replace(inner, x=inner.x + x, y=inner.y + y, depth=inner.depth + 1)
            for route in part.routes:
                moved = tuple((px + x, py + y) for px, py in route.points)
                layout.routes.append(replace(route, points=moved))
            x += part.width + BRANCH_GAP

    # --- edges ---------------------------------------------------------------------------

    def _down(self, edge: Edge, back_left: float, back_right: float) -> None:
        """An edge within a column: from layer to layer, or back up in the margin."""
        source, target = self._boxes[edge.source], self._boxes[edge.target]
        placed = self._placed[edge.source]
        pair = (edge.source, edge.target)
        if pair in placed.layers.backward:
            on_left = self._column[edge.source] == 0
            targets = sorted({t for _, t in placed.layers.backward})
            step = TRACK_GAP * targets.index(edge.target)
            track = back_left - step if on_left else back_right + step
            self._side(edge, track, source.middle, target.middle, to_left=on_left, from_left=on_left)
            return
        twins = [e for e in self._edges if (e.source, e.target) == pair]
        shift = PORT_STEP * (twins.index(edge) - (len(twins) - 1) / 2)
        points = [(source.centre + shift, source.bottom), (source.centre + shift, placed.floor(edge.source))]
        points += [(x + placed.x + shift, y + placed.y) for x, y in placed.layers.through[pair]]
        points.append((target.centre + shift, target.y))
        self._routes.append(Route(edge, _without_repeats(points)))

    def _tracks(self, across: list[Edge]) -> list[tuple[str, bool]]:
        """The channel's tracks from the left, each for a target and whether a Catch leads there."""
        wanted = {(edge.target, edge.kind == CATCH) for edge in across}
        order = list(self._states)
        # what turns back to the left column keeps to the left
        return sorted(wanted, key=lambda t: (self._column.get(t[0], 0), not t[1], order.index(t[0])))

    def _across(self, across: list[Edge]) -> None:
        if not across:
            return
        tracks = self._tracks(across)
        for edge in across:
            source, target = self._boxes[edge.source], self._boxes[edge.target]
            is_catch = edge.kind == CATCH
            track = self._channel + TRACK_GAP * tracks.index((edge.target, is_catch))
            out = source.bottom - CORNER if is_catch else source.middle
            to_left_column = self._column[edge.target] == 0
            into = target.y + CORNER if to_left_column else target.middle
            self._side(edge, track, out, into, from_left=self._column[edge.source] == 1, to_left=not to_left_column)

    def _side(self, edge: Edge, track: float, out: float, into: float, from_left: bool, to_left: bool) -> None:
        """By the side of the source to a track, along it, and into the side of the target.

        Where a neighbour stands between the box and the track, by the gap below or above the layer.
        """
        source, target = self._boxes[edge.source], self._boxes[edge.target]
        x = source.x if from_left else source.right
        points = [(x, out), (track, out)]
        if self._is_blocked(source, x, track, out):
            x = source.x + CORNER if from_left else source.right - CORNER
            gap = self._placed[edge.source].floor(edge.source) + layers.LAYER_GAP / 4
            points = [(x, source.bottom), (x, gap), (track, gap)]
        joins = len(points) - 1
        x = target.x if to_left else target.right
        if self._is_blocked(target, x, track, into):
            x = target.x + CORNER if to_left else target.right - CORNER
            gap = self._placed[edge.target].ceiling(edge.target) - layers.LAYER_GAP / 4
            points += [(track, gap), (x, gap), (x, target.y)]
        else:
            points += [(track, into), (x, into)]
        self._routes.append(Route(edge, tuple(points), joins))

    def _is_blocked(self, box: Box, start: float, end: float, y: float) -> bool:
        low, high = min(start, end), max(start, end)
        return any(
            other is not box and other.x < high and other.right > low and other.y - 4 < y < other.bottom + 4
            for other in self._boxes.values()
        )


def _reach(starts: set[str], pairs: list[tuple[str, str]]) -> set[str]:
    reached, open_ = set(starts), list(starts)
    while open_:
        at = open_.pop()
        for source, target in pairs:
            if source == at and target not in reached:
                reached.add(target)
                open_.append(target)
    return reached


def _without_repeats(points: list[Point]) -> tuple[Point, ...]:
    return tuple(p for index, p in enumerate(points) if index == 0 or p != points[index - 1])
