"""A contestant's side of the race: it is told what to load and into which table, and answers how long that took.

Also imported where Sluice is not installed, so it knows the standard library alone.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Load:
    """One load of `folder`, whose files `benchmarks.orders` and `benchmarks.race.truth` wrote.

    What the contestant leaves is one row per key in `schema`.`table`, which has its primary key. `scratch` is a folder
    of the contestant's own, for all its loads; `name` is no other load's. `first` is one into an empty table, as if its
    data had never been there before.
    """

    name: str
    folder: str
    database_url: str
    schema: str
    table: str
    scratch: str
    first: bool = True

    @property
    def files(self) -> list[str]:
        """The NDJSON files, in the order in which a later record of a key goes before an earlier one."""
        return [str(path) for path in sorted(Path(self.folder).glob("orders-*.ndjson"))]


def serve(load: Callable[[Load], dict | None]) -> None:
    """Obey standard input, a `Load` as one line of JSON each, and answer each in one line on standard output.

    An answer is {"seconds": …, "details": what `load` returned} or {"error": …}; `load` may return the seconds too,
    where it knows better. What libraries print goes to standard error instead.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        given = Load(**json.loads(line))
        started = time.perf_counter()
        try:
            details = load(given) or {}
            answer = {"seconds": details.pop("seconds", time.perf_counter() - started), "details": details}
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"[:500]}
        print(json.dumps(answer), file=answers, flush=True)


def to_json(load: Load) -> str:
    return json.dumps(dataclasses.asdict(load))
