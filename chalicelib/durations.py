"""Durations in words."""

from __future__ import annotations


def words(seconds: float) -> str:
    """A duration as people say it: 30 ms, 4.2 s, 3 min 10 s, 2 h 5 min."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
