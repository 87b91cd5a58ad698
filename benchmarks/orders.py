"""Generated orders: NDJSON of about 150 bytes a record, 2% duplicate keys, 0.5% failing rows, always the same."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

CITIES = ("Lisbon", "Oslo", "Seattle", "Nairobi", "Osaka", "Lima", "Graz", "Perth")
STATUSES = ("new", "paid", "packed", "sent", "returned")
DUPLICATES = 0.02
FAILING = 0.005

DECLARATION = """\
location = "{pattern}"
table = "{table}"
key = ["id"]
suite = "orders.suite.json"

[columns]
id = "bigint not null"
customer = "integer"
city = "text"
status = "text"
amount = "double precision"
quantity = "integer"
ordered_at = "timestamptz"
note = "text"
"""

SUITE = {
    "name": "orders",
    "meta": {"sluice": {"quarantine": {"warn": 0.01, "fail": 0.05}}},
    "expectations": [
        {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "customer"}, "severity": "critical"},
        {
            "type": "expect_column_values_to_be_between",
            "kwargs": {"column": "amount", "min_value": 0, "max_value": 10000},
            "severity": "critical",
        },
        {
            "type": "expect_column_values_to_be_between",
            "kwargs": {"column": "quantity", "min_value": 1, "max_value": 100},
            "severity": "critical",
        },
        {
            "type": "expect_column_values_to_be_in_set",
            "kwargs": {"column": "city", "value_set": list(CITIES)},
            "severity": "critical",
        },
        {
            "type": "expect_column_values_to_be_in_set",
            "kwargs": {"column": "status", "value_set": list(STATUSES)},
            "severity": "critical",
        },
        {
            "type": "expect_column_values_to_match_regex",
            "kwargs": {"column": "note", "regex": "^[a-z0-9 ]+$"},
            "severity": "warning",
        },
        {
            "type": "expect_column_value_lengths_to_be_between",
            "kwargs": {"column": "note", "min_value": 1, "max_value": 40},
            "severity": "critical",
        },
        {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1}, "severity": "critical"},
    ],
}


def write(folder: Path, rows: int, files: int, seed: int = 1, table: str = "orders") -> Path:
    """Write the records and their declaration, for `table`, into `folder`; returns the declaration's path.

    A share DUPLICATES of the records repeats an earlier key with other values; a share FAILING
    breaks one critical expectation (amount below zero, or an unknown city).
    """
    declaration = folder / "orders.toml"
    if declaration.exists():
        return declaration
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    ids = np.arange(rows)
    repeated = random.choice(rows, int(rows * DUPLICATES), replace=False)
    ids[repeated] = random.integers(0, rows, len(repeated))
    failing = set(random.choice(rows, int(rows * FAILING), replace=False).tolist())
    customers = random.integers(1, 200_000, rows)
    cities, statuses = random.integers(0, len(CITIES), rows), random.integers(0, len(STATUSES), rows)
    amounts = np.round(random.gamma(2.0, 40.0, rows), 2)
    quantities = random.integers(1, 20, rows)
    seconds = random.integers(0, 365 * 86_400, rows).astype("timedelta64[s]")
    moments = np.datetime_as_string(np.datetime64("2025-01-01T00:00:00") + seconds)
    per_file = -(-rows // files)
    for number in range(files):
        with (folder / f"orders-{number:03d}.ndjson").open("w") as file:
            for i in range(number * per_file, min((number + 1) * per_file, rows)):
                record = {
                    "id": int(ids[i]),
                    "customer": int(customers[i]),
                    "city": CITIES[cities[i]],
                    "status": STATUSES[statuses[i]],
                    "amount": float(amounts[i]),
                    "quantity": int(quantities[i]),
                    "ordered_at": f"{moments[i]}Z",
                    "note": f"seeded order {i}",
                }
                if i in failing:
                    record.update({"amount": -1.0} if i % 2 else {"city": "Atlantis"})
                file.write(json.dumps(record, separators=(",", ":")) + "\n")
    (folder / "orders.suite.json").write_text(json.dumps(SUITE, indent=2))
    declaration.write_text(DECLARATION.format(pattern="orders-*.ndjson", table=table))
    return declaration
