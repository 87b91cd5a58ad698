"""What was played, as docs/storm.md tells of it: `python -m storm.document` puts the last storm's report there."""

from __future__ import annotations

import sys
from pathlib import Path

HEADING = "## What was played\n"
REPORT, DOCUMENT = Path("build/storm.md"), Path("docs/storm.md")


def replaced(document: str, report: str) -> str:
    """The document with the report below HEADING, in place of an older one. Raises ValueError where it has none."""
    before, heading, _ = document.partition(HEADING)
    if not heading:
        raise ValueError(f"the document has no {HEADING.strip()!r}")
    lines = [f"{line}\n" if line.startswith("|") else f"{line}\n\n" for line in report.splitlines() if line]
    # a blank line between a table and what follows it
    for number in range(1, len(lines)):
        if lines[number - 1].startswith("|") and not lines[number].startswith("|"):
            lines[number - 1] += "\n"
        elif lines[number].startswith("|") and lines[number + 1 : number + 2] and lines[number + 1].startswith("|---"):
            lines[number - 1] = lines[number - 1].rstrip("\n") + "\n\n"
    return before + HEADING + "\n" + "".join(lines).rstrip("\n") + "\n"


if __name__ == "__main__":
    given = [Path(name) for name in sys.argv[1:]] or [REPORT]
    DOCUMENT.write_text(replaced(DOCUMENT.read_text(), given[0].read_text()))
