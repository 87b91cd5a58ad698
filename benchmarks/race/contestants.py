"""Who runs, with what, and what each leaves out."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.race import truth

ROOT = Path(__file__).resolve().parents[2]
# pins of its own: dlt and awswrangler want other versions than ours
OTHERS = ROOT / ".venv-bench" / "bin" / "python"


@dataclass(frozen=True)
class Contestant:
    """`versions` are distributions whose versions are printed; `truth` is what it has to leave."""

    name: str
    title: str
    versions: tuple[str, ...]
    settings: str
    lacks: str
    installed_apart: bool = False
    truth: str = truth.ALL

    @property
    def module(self) -> str:
        return f"benchmarks.race.{self.name}"

    @property
    def python(self) -> str:
        return str(OTHERS if self.installed_apart else sys.executable)

    @property
    def is_sluice(self) -> bool:
        """It loads through the stack, into the table that its source declares."""
        return self.name.startswith("sluice")


_NO_GATE = "no check of a row, no quarantine, no row account, no fingerprint, no lineage"

CONTESTANTS = (
    Contestant(
        "floor",
        "The floor: COPY of ready CSV, MERGE",
        ("psycopg2-binary",),
        "two connections, unlogged staging, MERGE that skips equal rows",
        f"reads no JSON, finds no duplicates; {_NO_GATE}",
    ),
    Contestant(
        "dlt_arrow",
        "dlt, Arrow tables",
        ("dlt", "pyarrow", "adbc-driver-postgresql"),
        "upsert with skip_unchanged_rows, Parquet through ADBC, `dlt_settings.py`",
        f"leaves duplicates to us; {_NO_GATE}",
        installed_apart=True,
    ),
    Contestant(
        "dlt_records",
        "dlt, Python records",
        ("dlt", "orjson", "pyarrow", "adbc-driver-postgresql"),
        "upsert with skip_unchanged_rows, Parquet through ADBC, `dlt_settings.py`",
        f"leaves duplicates to us; {_NO_GATE}",
        installed_apart=True,
    ),
    Contestant(
        "wrangler",
        "awswrangler, upsert",
        ("awswrangler", "pandas", "pyarrow", "pg8000"),
        "pandas with pyarrow reads",
        f"leaves duplicates to us, writes equal rows again; {_NO_GATE}",
        installed_apart=True,
    ),
    Contestant(
        "pandas_to_sql",
        "pandas to_sql, ON CONFLICT",
        ("pandas", "SQLAlchemy", "psycopg2-binary"),
        "pandas with pyarrow reads",
        f"leaves duplicates to us, writes equal rows again; {_NO_GATE}",
        installed_apart=True,
    ),
    Contestant(
        "sluice",
        "Sluice",
        ("pandas", "numpy", "orjson", "great-expectations", "moto", "psycopg2-binary"),
        "the state machine on the warm local stack, the settings as delivered",
        "nothing: every gate is on",
        truth=truth.PASSING,
    ),
    Contestant(
        "sluice_stages",
        "Sluice's stages alone",
        ("pandas", "numpy", "orjson", "great-expectations", "psycopg2-binary"),
        "two workers, the settings as delivered",
        "the state machine: no retries, no history, no limits of time and memory",
        truth=truth.PASSING,
    ),
)

BY_NAME = {contestant.name: contestant for contestant in CONTESTANTS}
