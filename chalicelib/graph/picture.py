"""The whole picture: header, states, edges, legend."""

from __future__ import annotations

from chalicelib import asl, durations
from chalicelib.asl import CATCH
from chalicelib.executions import Children, Execution, State
from chalicelib.failure import plain_cause
from chalicelib.graph import draw, text
from chalicelib.graph.layout import Box, Layout, Route, lay_out

MARGIN = 28.0
HEADER = 62.0  # of the picture, without its error
LINE = 16.0
ERROR_LINE = 15.0  # in a box
LEGEND = 64.0
LEAST_WIDTH = 640.0
BOX = (176.0, 272.0)  # least and largest width of a state
BOX_HEIGHT = 52.0
CONTAINER_HEADER = 66.0
ICON_ROOM = 38.0  # left of the text in a box
START_GAP = 34.0  # between the start mark and the first state

_SERVICES = {
    "lambda": "Lambda",
    "sns": "SNS",
    "sqs": "SQS",
    "s3": "S3",
    "states": "Step Functions",
    "events": "EventBridge",
}
_EXECUTION_LOOK = {
    "RUNNING": "running",
    "SUCCEEDED": "succeeded",
    "FAILED": "failed",
    "TIMED_OUT": "failed",
    "ABORTED": "aborted",
    "PENDING_REDRIVE": "running",
}
_LINES = (
    ("taken", "taken"),
    ("open", "not taken"),
    ("counted", "by children, known by their count only"),
    ("caught", "error caught"),
    ("catch", "where an error would go"),
)
_EDGE_WORDS = {"next": "Next", "choice": "Choice", "default": "Choice, default", "catch": "Catch"}


def svg(definition: dict, execution: Execution) -> str:
    """The execution drawn over its state machine, as a self-contained SVG document."""
    return _Picture(definition, execution).document()


class _Picture:
    def __init__(self, definition: dict, execution: Execution):
        self._definition = definition
        self._execution = execution
        self._placed = {place.name: place for place in asl.placed(definition)}
        self._states = {
            name: execution.states.get(name, State(name, p.state["Type"])) for name, p in self._placed.items()
        }
        self._box_widths = self._widths()

    def document(self) -> str:
        layout = lay_out(self._definition, self._size, CONTAINER_HEADER)
        width = max(layout.width, LEAST_WIDTH) + 2 * MARGIN
        header, header_height = self._header(width)
        shift = (width - layout.width) / 2
        top = header_height + START_GAP
        height = top + layout.height + MARGIN + LEGEND
        name = f"Execution {self._execution.name}"
        return "".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {draw.number(width)} {draw.number(height)}" '
                f'width="{draw.number(width)}" height="{draw.number(height)}" style="max-width:100%;height:auto" '
                'role="img" aria-labelledby="title desc">',
                f'<title id="title">{draw.escape(draw.printable(name))}: {self._execution.status}</title>',
                f'<desc id="desc">{draw.escape(draw.printable(self._description()))}</desc>',
                draw.style(),
                f"<defs>{draw.markers()}</defs>",
                f'<rect width="{draw.number(width)}" height="{draw.number(height)}" rx="12" fill="{draw.PAPER}"/>',
                header,
                f'<g transform="translate({draw.number(shift)} {draw.number(top)})">',
                self._graph(layout),
                "</g>",
                _legend(width, height - LEGEND),
                "</svg>",
            ]
        )

    # --- header --------------------------------------------------------------------------

    def _header(self, width: float) -> tuple[str, float]:
        execution = self._execution
        status = _EXECUTION_LOOK.get(execution.status, "running")
        facts = [
            execution.status.replace("_", " ").lower(),
            durations.words(execution.seconds) + (" so far" if execution.is_running else ""),
            f"started {execution.started:%Y-%m-%d %H:%M:%S} UTC"
            if not execution.started.utcoffset()
            else f"started {execution.started:%Y-%m-%d %H:%M:%S %z}",
        ]
        room = width - 2 * MARGIN - 30
        parts = [
            draw.icon(MARGIN + 9, 35, status),
            draw.text(MARGIN + 28, 33, text.fit(execution.name, room, 17, bold=True), "h"),
            draw.text(MARGIN + 28, 51, text.fit(" · ".join(facts), room, 11), "m"),
        ]
        y = HEADER
        if execution.error:
            message = f"{execution.error}: {plain_cause(execution.cause)}".rstrip(": ")
            for line in text.wrap(message, room, 12, 3):
                y += LINE
                parts.append(draw.text(MARGIN + 28, y - 6, line, "x"))
        return f"<g>{draw.title(self._description())}{''.join(parts)}{_rule(width, y)}</g>", y

    def _description(self) -> str:
        execution = self._execution
        ran = [f"{s.name} {draw.LOOKS[s.status].word}" for s in self._states.values() if s.status != "not_run"]
        error = f" Error {execution.error}: {plain_cause(execution.cause)}." if execution.error else ""
        return (
            f"{execution.name}: {execution.status}, {durations.words(execution.seconds)}.{error} "
            f"States that ran: {', '.join(ran) or 'none'}."
        )

    # --- states --------------------------------------------------------------------------

    def _widths(self) -> dict[str | None, float]:
        """The one width of the plain boxes of a machine, by the state that it is inside (None at the top)."""
        widths: dict[str | None, float] = {}
        for name, place in self._placed.items():
            needed = self._needed_width(name) if not asl.inner(place.state) else 0.0
            widths[place.parent] = min(max(widths.get(place.parent, BOX[0]), needed), BOX[1])
        return widths

    def _needed_width(self, name: str) -> float:
        entered = self._states[name].entered
        facts = text.width(self._facts(name), 11) if entered or asl.inner(self._placed[name].state) else 0
        return ICON_ROOM + 14 + max(text.width(name, 13, bold=True), facts)

    def _size(self, name: str) -> tuple[float, float]:
        place = self._placed[name]
        width = self._box_widths[place.parent]
        if asl.inner(place.state):
            return max(width, min(self._needed_width(name), 2 * BOX[1])), CONTAINER_HEADER
        return width, BOX_HEIGHT + ERROR_LINE * len(self._error_lines(name, width, 2))

    def _error_lines(self, name: str, width: float, lines: int) -> list[str]:
        """The error of a state that failed or is being retried, in the words that fit its box."""
        state = self._states[name]
        if not state.error or state.status not in ("failed", "caught", "running"):
            return []
        message = f"{state.error}: {plain_cause(state.cause)}".rstrip(": ")
        return text.wrap(message, (width - ICON_ROOM - 12) / 1.12, 11, lines)

    def _facts(self, name: str) -> str:
        """The second line of a box: what kind of state, how long, how often."""
        state = self._states[name]
        facts = [_kind(self._placed[name].state)]
        if state.children:
            facts.append(_counts(state.children, asl.is_distributed(self._placed[name].state)))
        if state.entered > 1:
            facts.append(f"{state.entered:,} times")
        if state.first and state.type != "Fail":
            facts.append(durations.words(state.seconds))
        if state.retries:
            facts.append("1 retry" if state.retries == 1 else f"{state.retries} retries")
        return " · ".join(facts)

    def _tooltip(self, name: str) -> str:
        state = self._states[name]
        lines = [f"{name}: {draw.LOOKS[state.status].word}", self._facts(name)]
        if state.error:
            word = "Error" if state.status != "succeeded" else "Error before the last retry"
            lines.append(f"{word}: {state.error}: {plain_cause(state.cause)[:2000]}")
        if comment := self._placed[name].state.get("Comment"):
            lines.append(str(comment))
        return "\n".join(lines)

    def _box(self, at: Box) -> str:
        state = self._states[at.name]
        room = at.width - ICON_ROOM - 12
        is_container = bool(asl.inner(self._placed[at.name].state))
        errors = self._error_lines(at.name, at.width, 1 if is_container else 2)
        lines = [
            draw.icon(20, 24 if is_container or errors else at.height / 2, state.status),
            draw.text(ICON_ROOM, 22, text.fit(at.name, room, 13, bold=True), "n"),
            draw.text(ICON_ROOM, 39, text.fit(self._facts(at.name), room, 11), "m"),
        ]
        lines += [draw.text(ICON_ROOM, 55 + ERROR_LINE * n, line, "x") for n, line in enumerate(errors)]
        if is_container and not errors and state.children and state.children.total:
            lines.append(_shares(state.children, ICON_ROOM, 47, room))
        return (
            f'<g class="state" data-state={draw.attribute(at.name)} data-status="{state.status}">'
            f"{draw.title(self._tooltip(at.name))}{draw.box(at, state.status)}{draw.clipped(at, ''.join(lines))}</g>"
        )

    # --- edges ---------------------------------------------------------------------------

    def _graph(self, layout: Layout) -> str:
        boxes = sorted(layout.boxes.values(), key=lambda box: box.depth)
        routes = [(route, self._line(route)) for route in layout.routes]
        parts = [self._start(layout.boxes[self._definition["StartAt"]])]
        # a container covers what is below it: its edges are drawn after it, those taken last
        for depth in range(max(box.depth for box in boxes) + 1):
            parts += [self._box(box) for box in boxes if box.depth == depth]
            here = [pair for pair in routes if layout.boxes[pair[0].edge.source].depth == depth]
            parts += _trunks([route for route, css in here if css in ("catch", "open")])
            for wanted in ("catch", "open", "counted", "taken", "caught"):
                parts += [self._edge(route, css) for route, css in here if css == wanted]
        return "".join(parts)

    def _line(self, route: Route) -> str:
        """The style of an edge: it is taken only if the history says so."""
        edge = route.edge
        is_catch = edge.kind == CATCH
        if (edge.source, edge.target, is_catch) in self._execution.transitions:
            return "caught" if is_catch else "taken"
        if is_catch:
            return "catch"
        parent = self._placed[edge.source].parent
        ran = all(self._states[name].entered for name in (edge.source, edge.target))
        return "counted" if ran and parent and asl.is_distributed(self._placed[parent].state) else "open"

    def _edge(self, route: Route, css: str) -> str:
        edge = route.edge
        taken = css in ("taken", "caught")
        known = "taken" if taken else "taken by children" if css == "counted" else "not taken"
        words = f"{edge.source} to {edge.target} ({_EDGE_WORDS[edge.kind]}): {known}"
        shares = route.joins is not None and not taken
        way = draw.path(route.points[: route.joins + 1] if shares else route.points)
        arrow = "" if shares else f' marker-end="url(#arrow-{css})"'
        ring = draw.ring(*route.points[0], css) if edge.kind == CATCH else ""
        return (
            f'<g class="edge" data-from={draw.attribute(edge.source)} data-to={draw.attribute(edge.target)} '
            f'data-kind="{edge.kind}" data-taken="{str(taken).lower()}">{draw.title(words)}'
            f'<path class="e {css}" d="{way}"{arrow}/>{ring}</g>'
        )

    def _start(self, first: Box) -> str:
        entered = self._states[first.name].entered > 0
        css = "taken" if entered else "open"
        x, y = first.centre, first.y - START_GAP + 16
        return (
            f'<circle cx="{draw.number(x)}" cy="{draw.number(y)}" r="5" fill="{draw.STYLES[css][0]}"/>'
            f'<path class="e {css}" d="{draw.path(((x, y + 5), (x, first.y)))}" marker-end="url(#arrow-{css})"/>'
        )


def _trunks(routes: list[Route]) -> list[str]:
    """The shared tracks of edges not taken, once each: dashes drawn over dashes would look like a line."""
    shared: dict[tuple, list[Route]] = {}
    for route in routes:
        if route.joins is not None:
            shared.setdefault((route.edge.target, route.edge.kind == CATCH), []).append(route)
    drawn = []
    for (_, is_catch), together in shared.items():
        css = "catch" if is_catch else "open"
        end = together[0].points[together[0].joins + 1 :]
        track, turn = end[0]
        heights = [route.points[route.joins][1] for route in together]
        # from the farthest above and the farthest below, to where the track turns off
        for far in {min([turn, *heights]), max([turn, *heights])} - {turn}:
            drawn.append(f'<path class="e {css}" d="{draw.path(((track, far), (track, turn)))}"/>')
        drawn.append(f'<path class="e {css}" d="{draw.path(end)}" marker-end="url(#arrow-{css})"/>')
    return drawn


def _kind(state: dict) -> str:
    """What a state is, in a word or two: the service of a Task, the type of the others."""
    if state["Type"] == "Map":
        return "Distributed Map" if asl.is_distributed(state) else "Map"
    if state["Type"] != "Task":
        return state["Type"]
    resource = str(state.get("Resource", ""))
    if ":::" in resource:
        service, _, action = resource.split(":::", 1)[1].partition(":")
        word = _SERVICES.get(service, service)
        return word if service == "lambda" else f"{word} {action}".strip()
    return "Lambda" if ":lambda:" in resource else "Task"


def _counts(children: Children, distributed: bool) -> str:
    """The children of a Map in words, e.g. "20 items: 19 ok, 1 failed"."""
    noun = "item" if distributed else "iteration"
    known = [
        (children.succeeded, "ok"),
        (children.failed, "failed"),
        (children.running, "running"),
        (children.aborted, "aborted"),
    ]
    counts = ", ".join(f"{count:,} {word}" for count, word in known if count)
    if children.total is None:
        return counts or f"no {noun} yet"
    return f"{children.total:,} {noun}{'' if children.total == 1 else 's'}" + (f": {counts}" if counts else "")


def _shares(children: Children, x: float, y: float, width: float) -> str:
    known = [
        (children.succeeded, "succeeded"),
        (children.failed, "failed"),
        (children.aborted, "aborted"),
        (children.running, "running"),
    ]
    return draw.share_bar(x, y, width, [(count / children.total, status) for count, status in known])


def _legend(width: float, y: float) -> str:
    """Two rows: what the marks of states mean, and what the lines mean."""
    parts = [_rule(width, y)]
    x, middle = MARGIN + 8, y + 20
    for status, look in draw.LOOKS.items():
        parts += [draw.icon(x, middle, status), draw.text(x + 14, middle + 4, look.word, "m")]
        x += 34 + text.width(look.word, 11)
    x, middle = MARGIN, y + 44
    for css, word in _LINES:
        way = draw.path(((x, middle), (x + 26, middle)))
        parts.append(f'<path class="e {css}" d="{way}" marker-end="url(#arrow-{css})"/>')
        parts.append(draw.text(x + 34, middle + 4, word, "m"))
        x += 52 + text.width(word, 11)
    return f'<g aria-hidden="true">{"".join(parts)}</g>'


def _rule(width: float, y: float) -> str:
    y_text = draw.number(y)
    return f'<line x1="0" x2="{draw.number(width)}" y1="{y_text}" y2="{y_text}" stroke="{draw.LINE}"/>'
