"""dlt with Python records: orjson reads them, dlt infers their types, writes them for Postgres and merges.

`upsert` wants each key once, so the last record of a key is found before, in a dictionary.
"""

from __future__ import annotations

import orjson

from benchmarks.race import dlt_settings
from benchmarks.race.heat import Load, serve

RECORDS_AT_ONCE = 10_000


def dlt_records(load: Load) -> None:
    import dlt

    pipeline = dlt_settings.pipeline(load)

    @dlt.resource(
        name=load.table, primary_key="id", write_disposition=dlt_settings.UPSERT, file_format=dlt_settings.FILE_FORMAT
    )
    def orders():
        found = list(latest(load.files).values())
        for start in range(0, len(found), RECORDS_AT_ONCE):
            yield found[start : start + RECORDS_AT_ONCE]

    pipeline.run(orders()).raise_on_failed_jobs()
    dlt_settings.add_key(load)


def latest(files: list[str]) -> dict[int, dict]:
    """The last record of each key, by key."""
    found = {}
    for path in files:
        with open(path, "rb") as lines:
            for record in map(orjson.loads, lines):
                found[record["id"]] = record
    return found


if __name__ == "__main__":
    serve(dlt_records)
