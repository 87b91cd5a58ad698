"""dlt with Arrow tables, its fastest path: pyarrow reads the files, dlt writes them for Postgres and merges.

`upsert` wants each key once, so the last record of a key is found before, in Arrow.
"""

from __future__ import annotations

import pyarrow as pa
from pyarrow import json as arrow_json

from benchmarks.race import dlt_settings
from benchmarks.race.heat import Load, serve

SCHEMA = pa.schema(
    {
        "id": pa.int64(),
        "customer": pa.int64(),
        "city": pa.string(),
        "status": pa.string(),
        "amount": pa.float64(),
        "quantity": pa.int64(),
        "ordered_at": pa.timestamp("us", "UTC"),
        "note": pa.string(),
    }
)
BLOCK_BYTES = 8 * 1024 * 1024
ROWS_PER_FILE = 100_000


def dlt_arrow(load: Load) -> None:
    import dlt

    pipeline = dlt_settings.pipeline(load)

    @dlt.resource(
        name=load.table, primary_key="id", write_disposition=dlt_settings.UPSERT, file_format=dlt_settings.FILE_FORMAT
    )
    def orders():
        rows = latest(load.files)
        for start in range(0, rows.num_rows, ROWS_PER_FILE):
            yield rows.slice(start, ROWS_PER_FILE)

    pipeline.run(orders()).raise_on_failed_jobs()
    dlt_settings.add_key(load)


def latest(files: list[str]) -> pa.Table:
    """The last record of each key."""
    read = arrow_json.ReadOptions(block_size=BLOCK_BYTES)
    parse = arrow_json.ParseOptions(explicit_schema=SCHEMA)
    rows = pa.concat_tables(arrow_json.read_json(path, read, parse) for path in files)
    places = pa.table({"id": rows["id"], "place": pa.array(range(rows.num_rows), pa.int64())})
    last = places.group_by("id").aggregate([("place", "max")])["place_max"]
    return rows.take(last)


if __name__ == "__main__":
    serve(dlt_arrow)
