"""The race as a picture: a bar for each load, the shorter the better."""

from __future__ import annotations

from html import escape

from benchmarks.race.contestants import CONTESTANTS
from benchmarks.race.figures import Figures
from benchmarks.race.track import AGAIN, FIRST

WIDTH, LEFT, RIGHT, TOP = 860, 270, 70, 56
BAR, GAP, BETWEEN = 14, 3, 16
COLOURS = {FIRST: "#2f6f8f", AGAIN: "#a9c9d6"}
LABELS = {FIRST: "first load", AGAIN: "the same data again"}
STYLE = (
    "text { font: 13px system-ui, sans-serif; fill: #333 } text.small { font-size: 12px; fill: #666 }"
    " text.bold { font-weight: 700 }"
)
# a bar of more than so many times Sluice's first load is broken off: beside it the others could not be told apart
LONGEST = 4


def draw(figures: Figures) -> str:
    """SVG. Who loaded nothing that counts is left out; a bar that is broken off has a gap before its end."""
    shown = [contestant for contestant in CONTESTANTS if figures.of(contestant.name)]
    medians = {
        (contestant.name, load): figures.median(contestant.name, load) for contestant in shown for load in LABELS
    }
    longest = max(filter(None, medians.values()), default=1.0)
    if sluice := figures.median("sluice"):
        longest = min(longest, LONGEST * sluice)
    scale = (WIDTH - LEFT - RIGHT) / longest
    parts, y = [], TOP
    for contestant in shown:
        bold = ' class="bold"' if contestant.is_sluice else ""
        middle = y + BAR + GAP / 2 + 5
        parts.append(f'<text x="{LEFT - 10}" y="{middle:g}" text-anchor="end"{bold}>{escape(contestant.title)}</text>')
        for load, colour in COLOURS.items():
            seconds = medians[contestant.name, load]
            if seconds is not None:
                length = max(1.0, min(seconds, longest) * scale)
                parts.append(f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{colour}"/>')
                if seconds > longest:
                    gap = LEFT + length - 18
                    parts.append(f'<path d="M{gap:g} {y + BAR} l6 -{BAR} h5 l-6 {BAR} z" fill="#fff"/>')
                parts.append(f'<text class="small" x="{LEFT + length + 6:.1f}" y="{y + 12}">{seconds:.1f} s</text>')
            y += BAR + GAP
        y += BETWEEN
    legend, x = [], LEFT
    for load, label in LABELS.items():
        legend.append(f'<rect x="{x}" y="30" width="12" height="12" fill="{COLOURS[load]}"/>')
        legend.append(f'<text class="small" x="{x + 18}" y="41">{label}</text>')
        x += 110
    title = f"{figures.rows:,} records into a keyed table: seconds, medians"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}">',
            f"<style>{STYLE}</style>",
            f'<rect width="{WIDTH}" height="{y}" fill="#fff"/>',
            f'<text class="bold" x="{LEFT}" y="20">{title}</text>',
            *legend,
            *parts,
            "</svg>\n",
        ]
    )
