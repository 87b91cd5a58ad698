"""SVG elements: boxes of states, edges, icons, all from plain numbers and texts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from chalicelib.graph.layers import Point
from chalicelib.graph.layout import Box

FONT = "'Segoe UI', system-ui, -apple-system, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"
INK = "#16202c"
FAINT = "#566270"  # on white and on all fills below: a contrast of 5.4 or more
PAPER = "#f7f9fb"
LINE = "#d5dce4"
ERROR = "#b3261e"


@dataclass(frozen=True)
class Look:
    """How a status is shown: never by colour alone."""

    word: str
    stroke: str
    fill: str
    icon: str  # path within a circle of radius 8 around (0, 0)


LOOKS = {
    "succeeded": Look("succeeded", "#1a7f37", "#eaf7ee", "M-3.6 0.2 L-1.1 2.8 L3.7 -2.6"),
    "failed": Look("failed", "#b3261e", "#fdeceb", "M-2.7 -2.7 L2.7 2.7 M2.7 -2.7 L-2.7 2.7"),
    "caught": Look("caught error", "#9a5700", "#fff3dc", "M0 -4 L0 0.8 M0 3.5 L0 3.6"),
    "running": Look("running", "#0a5cad", "#e5f1fc", "M-1.8 -3.2 L3.2 0 L-1.8 3.2 Z"),
    "aborted": Look("aborted", "#5d5470", "#efedf3", "M-2.5 -2.5 L2.5 -2.5 L2.5 2.5 L-2.5 2.5 Z"),
    "not_run": Look("not run", "#98a4b1", "#ffffff", "M-2.8 0 L2.8 0"),
}
STYLES = {
    # class: stroke, width, dashes
    "open": ("#a1adba", 1.3, "5 4"),
    "taken": ("#33475c", 2.2, ""),
    "counted": ("#33475c", 1.4, "8 3"),
    "catch": ("#cf918b", 1.4, "1.5 4"),
    "caught": (ERROR, 2.2, ""),
}


def number(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")


def text(x: float, y: float, content: str, css: str, anchor: str = "") -> str:
    place = f' text-anchor="{anchor}"' if anchor else ""
    return f'<text x="{number(x)}" y="{number(y)}" class="{css}"{place}>{escape(printable(content))}</text>'


def printable(content: str) -> str:
    """`content` without the characters that XML cannot hold."""
    return "".join(
        c if c in "\t\n" or " " <= c < "\ud800" or "\ue000" <= c < "\ufffe" or c > "\uffff" else "\ufffd"
        for c in content
    )


def attribute(content: str) -> str:
    """`content` quoted, as the value of an attribute."""
    return quoteattr(printable(content))


def title(content: str) -> str:
    """A tooltip."""
    return f"<title>{escape(printable(content))}</title>"


def style() -> str:
    edges = "".join(
        f".e.{name}{{stroke:{stroke};stroke-width:{width};{f'stroke-dasharray:{dashes};' if dashes else ''}}}"
        for name, (stroke, width, dashes) in STYLES.items()
    )
    return (
        f"<style>text{{font-family:{FONT};fill:{INK}}}.n{{font-size:13px;font-weight:600}}"
        f".m{{font-size:11px;fill:{FAINT}}}.x{{font-size:11px;fill:{ERROR};font-weight:600}}"
        f".h{{font-size:17px;font-weight:600}}.e{{fill:none;stroke-linejoin:round;stroke-linecap:round}}{edges}</style>"
    )


def markers() -> str:
    return "".join(
        f'<marker id="arrow-{name}" viewBox="0 0 8 8" refX="7.2" refY="4" markerWidth="8" markerHeight="8" '
        f'markerUnits="userSpaceOnUse" orient="auto"><path d="M0.5 0.5 L7.5 4 L0.5 7.5 Z" fill="{stroke}"/></marker>'
        for name, (stroke, _, _) in STYLES.items()
    )


def icon(x: float, y: float, status: str) -> str:
    look = LOOKS[status]
    hollow = status == "not_run"
    filled = "fill:#fff;" if look.icon.endswith("Z") else "fill:none;"
    return (
        f'<g transform="translate({number(x)} {number(y)})">'
        f'<circle r="8" fill="{"#fff" if hollow else look.stroke}" stroke="{look.stroke}" stroke-width="1.4"/>'
        f'<path d="{look.icon}" style="{filled}stroke:{look.stroke if hollow else "#fff"};stroke-width:1.9;'
        'stroke-linecap:round;stroke-linejoin:round"/></g>'
    )


def box(at: Box, status: str) -> str:
    look = LOOKS[status]
    dashes = ' stroke-dasharray="4 3"' if status == "not_run" else ""
    return (
        f'<rect x="{number(at.x)}" y="{number(at.y)}" width="{number(at.width)}" height="{number(at.height)}" rx="9" '
        f'fill="{look.fill}" stroke="{look.stroke}" stroke-width="{1.2 if status == "not_run" else 1.8}"{dashes}/>'
    )


def clipped(at: Box, content: str) -> str:
    """`content`, its origin the box's corner, with nothing drawn outside the box."""
    return (
        f'<svg x="{number(at.x)}" y="{number(at.y)}" width="{number(at.width)}" height="{number(at.height)}">'
        f"{content}</svg>"
    )


def ring(x: float, y: float, css: str) -> str:
    """Where an edge for errors begins."""
    stroke = STYLES[css][0]
    at = f'cx="{number(x)}" cy="{number(y)}"'
    return f'<circle {at} r="2.6" fill="{PAPER}" stroke="{stroke}" stroke-width="1.4"/>'


def share_bar(x: float, y: float, width: float, shares: list[tuple[float, str]]) -> str:
    """A thin bar cut into shares, each a fraction of 1 and the status whose colour it has."""
    parts = [f'<rect x="{number(x)}" y="{number(y)}" width="{number(width)}" height="4" rx="2" fill="#fff"/>']
    for share, status in shares:
        if share > 0:
            # what there is one of in a thousand is still to be seen
            part = min(max(share * width, 3.0), width)
            parts.append(
                f'<rect x="{number(x)}" y="{number(y)}" width="{number(part)}" height="4" rx="2" '
                f'fill="{LOOKS[status].stroke}"/>'
            )
            x += share * width
    return "".join(parts)


def path(points: tuple[Point, ...], radius: float = 8.0) -> str:
    """The `d` of a route: straight pieces with rounded corners, and curves where x and y both change."""
    out = [f"M{number(points[0][0])} {number(points[0][1])}"]
    for index in range(1, len(points)):
        (x0, y0), (x1, y1) = points[index - 1], points[index]
        if x0 != x1 and y0 != y1:
            bend = (y1 - y0) / 2
            out.append(f"C{number(x0)} {number(y0 + bend)} {number(x1)} {number(y1 - bend)} {number(x1)} {number(y1)}")
        elif index + 1 < len(points) and _turns(points[index - 1], points[index], points[index + 1]):
            x2, y2 = points[index + 1]
            r = min(radius, math.hypot(x1 - x0, y1 - y0) / 2, math.hypot(x2 - x1, y2 - y1) / 2)
            before = (x1 - math.copysign(r, x1 - x0) * (x1 != x0), y1 - math.copysign(r, y1 - y0) * (y1 != y0))
            after = (x1 + math.copysign(r, x2 - x1) * (x2 != x1), y1 + math.copysign(r, y2 - y1) * (y2 != y1))
            out.append(f"L{number(before[0])} {number(before[1])}")
            out.append(f"Q{number(x1)} {number(y1)} {number(after[0])} {number(after[1])}")
        else:
            out.append(f"L{number(x1)} {number(y1)}")
    return "".join(out)


def _turns(a: Point, b: Point, c: Point) -> bool:
    """A right-angled corner at `b`."""
    return (a[0] == b[0] and b[1] == c[1] and a[1] != b[1] and b[0] != c[0]) or (
        a[1] == b[1] and b[0] == c[0] and a[0] != b[0] and b[1] != c[1]
    )
