"""The input of an execution: what people, schedules and triggers say is to be run."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from chalicelib import redaction
from chalicelib.contract_reading import read_contract
from chalicelib.errors import ContractError


@dataclass(frozen=True)
class RunInput:
    """What to run. `start` and `end` are `from` and `to` in JSON.

    `input` is what only the source understands: stations, a path, a URL. `embed` is None for "if
    the source has text". `move_cursor` lets a window that was given move the cursor as one that followed from
    it would; `allow_gap` also where that leaves out days. `trigger` tells people what started it, e.g.
    "schedule 2026-11-21T13:00:00Z"; None for a command. `live` asks the source's own hosts where, as on the laptop,
    a sample API stands in for them. `runs_at_once` runs of the source, this one among them, share what its hosts take;
    None for one alone. `gather_warnings`: who started the run tells of its warnings, with those of others.
    `replay` names the claim on the quarantined rows that are all that is read. `redrive` is the failed run that this
    one goes on from. `from_scratch`: nothing is taken over from a run that succeeded, whatever is unchanged since.
    """

    source: str
    start: str | None = None
    end: str | None = None
    input: str | None = None
    embed: bool | None = None
    move_cursor: bool | None = None
    allow_gap: bool | None = None
    trigger: str | None = None
    live: bool | None = None
    runs_at_once: int | None = None
    gather_warnings: bool | None = None
    replay: str | None = None
    redrive: str | None = None
    from_scratch: bool | None = None

    @classmethod
    def from_json(cls, given: dict) -> RunInput:
        written = {"start": "from", "end": "to"}
        if isinstance(given, dict):
            if wrong := sorted(set(given) & set(written)):
                raise ContractError(f"input has {', '.join(wrong)}", next_step="a window is given as `from` and `to`")
            names = {name: field for field, name in written.items()}
            given = {names.get(key, key): value for key, value in given.items()}
        return read_contract(cls, given, "input", written)

    def command(self) -> str:
        """What to type to run it again; `***` stands where the input holds a secret."""
        if self.replay is not None:
            run_id = replayed_run(self.trigger or "")
            return "sluice quarantine replay " + shlex.join(["--run", run_id] if run_id else ["--source", self.source])
        shown = self.input and redaction.url(self.input)
        words = ["sluice", "run", self.source]
        for option, value in (("--from", self.start), ("--to", self.end), ("--input", shown)):
            words += [option, value] if value else []
        if self.embed is not None:
            words.append("--embed" if self.embed else "--no-embed")
        for option, value in (
            ("--move-cursor", self.move_cursor),
            ("--allow-gap", self.allow_gap),
            ("--live", self.live),
            ("--from-scratch", self.from_scratch),
        ):
            words += [option] if value else []
        return shlex.join(words)


def replayed_run(trigger: str) -> str | None:
    """The run whose rows are replayed, in the words of `trigger`; None where it is no replay's."""
    return trigger.partition("replay of ")[2] or None
