"""The emails about what no run was started for."""

from __future__ import annotations

from collections.abc import Sequence

from chalicelib.contracts import Alert
from chalicelib.errors import SluiceError
from chalicelib.letters import cut, message, short, subject, wrapped

_SHOWN = 3
_WINDOWS = 20  # of a backfill that are named


def object_alert(address: str, source: str | None, reason: str) -> Alert:
    """An object of the inbox that no source can read; it stays at `address`."""
    lines = [
        *wrapped("An object came into the inbox, and no run was started for it. It is quarantined whole and stays:"),
        f"  {cut(address, 1100)}",
        "",
        *wrapped(short(reason)),
        "",
        *wrapped(
            "Copy it to the folder of the source that is to read it: that is a run by itself. Further objects of this "
            "folder are recorded for an hour without an email each."
        ),
    ]
    return Alert(
        subject(f"[sluice] {source}: no run for an object in the inbox"),
        message(lines, [], [f"sluice quarantine objects --source {short(source)}"]),
    )


def undelivered_alert(queue_url: str, refused: Sequence[tuple[str, str, SluiceError]]) -> Alert:
    """Messages that no run was started for: (id, what may be told of it, error) of each."""
    several = len(refused) > 1
    what = f"{len(refused)} messages were" if several else "A message was"
    lines = wrapped(f"{what} refused: no run was started.")
    for identifier, shown, error in refused[:_SHOWN]:
        lines += ["", f"{type(error).__name__}, message {identifier}"]
        lines += [f"  {line}" for line in wrapped(cut(str(error), 600))]
        lines += [f"  {short(shown)}"] if shown else []
    if len(refused) > _SHOWN:
        lines += ["", f"... and {len(refused) - _SHOWN} more"]
    lines += ["", *wrapped("They are kept for 14 days, and can be sent back once their cause is mended.")]
    return Alert(
        subject(f"[sluice] {len(refused)} message{'s' if several else ''} refused: {type(refused[0][2]).__name__}"),
        message(lines, [("Queue", queue_url)], ["sluice undelivered list", "sluice undelivered show ID"]),
    )


def warnings_alert(source: str, number: int, windows: Sequence[dict]) -> Alert:
    """The windows of the backfill `number` that passed with warnings, as `backfills.untold_warnings` gives them."""
    several = len(windows) > 1
    what = f"{len(windows):,} windows" if several else "A window"
    lines = wrapped(
        f"{what} of the backfill {number} of {short(source)} passed the quality gate with warnings. Their rows are "
        "published. Each run has a report."
    )
    for window in windows[:_WINDOWS]:
        lines += ["", f"{window['first']} to {window['last']}, run {window['run_id']}"]
        lines.append(f"  {window['quarantined']:,} of {window['fetched']:,} rows quarantined")
        lines += [f"  {short(title)}" for title in window["found"][:_SHOWN]]
    if len(windows) > _WINDOWS:
        lines += ["", f"... and {len(windows) - _WINDOWS:,} more"]
    counted = f"{len(windows):,} windows" if several else "1 window"
    return Alert(
        subject(f"[sluice] {source}: {counted} of a backfill passed with warnings"),
        message(lines, [], [f"sluice runs show {windows[0]['run_id']}", f"sluice runs list --source {short(source)}"]),
    )
