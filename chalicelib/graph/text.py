"""Text that fits: SVG has no line breaking and no ellipsis of its own."""

from __future__ import annotations

# width of a character in em, for the widest of the usual sans-serif faces (DejaVu Sans), so that
# what fits here fits in Arial or a system face too
_EM = {
    **dict.fromkeys("il'|", 0.28),
    **dict.fromkeys(" .,:;·!I", 0.34),
    **dict.fromkeys('jtfr()[]{}-/"', 0.42),
    **dict.fromkeys("mwMW@%—…", 0.98),
}
_LOWER = 0.63  # and digits
_UPPER = 0.73
_SYMBOL = 1.0
_BOLD = 1.12


def width(text: str, size: float, bold: bool = False) -> float:
    """The width of `text` in pixels at a font size in pixels; an estimate from above."""
    em = sum(
        _EM.get(char) or (_UPPER if char.isupper() else _LOWER if ord(char) < 0x2000 else _SYMBOL) for char in text
    )
    return em * size * (_BOLD if bold else 1.0)


def fit(text: str, room: float, size: float, bold: bool = False) -> str:
    """`text`, cut off with an ellipsis where it is wider than `room` pixels."""
    if width(text, size, bold) <= room:
        return text
    kept = ""
    for char in text:
        if width(f"{kept}{char}…", size, bold) > room:
            break
        kept += char
    return kept.rstrip() + "…"


def wrap(text: str, room: float, size: float, lines: int) -> list[str]:
    """`text` in at most `lines` lines of `room` pixels, the last one cut off where it does not fit."""
    found: list[str] = []
    words = text.split()
    while words and len(found) < lines - 1:
        line = words.pop(0)
        while words and width(f"{line} {words[0]}", size) <= room:
            line += " " + words.pop(0)
        if width(line, size) > room:  # one word longer than the line
            cut = len(line)
            while cut > 1 and width(line[:cut], size) > room:
                cut -= 1
            words.insert(0, line[cut:])
            line = line[:cut]
        found.append(line)
    if words:
        found.append(fit(" ".join(words), room, size))
    return found
