"""One stack, its Postgres, and the contestants on it: each load in a process of its own, checked against the truth."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg2

from benchmarks import orders
from benchmarks.race import truth
from benchmarks.race.contestants import ROOT, Contestant
from benchmarks.race.heat import Load, to_json
from benchmarks.race.measure import Meter, Used
from chalicelib.lake import Lake, keys
from local import environment, provision
from local.home import Home
from local.stack import Stack

FIRST, AGAIN = "first", "again"
# enough for every worker of Sluice to import what it needs and to judge a chunk
WARM_UP_ROWS = 20_000
WARM_UP_FILES = 4
# between loads: what the last one left for Postgres and the disk to write is written
PAUSE_SECONDS = 1.0
TABLE = "orders"


# the stack's folder goes with the race
KEPT_LOG = ROOT / "build" / "race" / "postgres.log"
LINES = 40
# a server process that died, with all others; the whole server, which the stack has started again
_CRASHED = ("PANIC:  ", "was terminated by signal", "was not properly shut down")


@dataclass(frozen=True)
class Result:
    """One load of one contestant. `problem` says why it does not count: it failed, or left something else than the
    truth; its figures are then 0 where there are none."""

    contestant: str
    round: int
    load: str  # FIRST | AGAIN
    rows: int
    seconds: float = 0.0
    used: Used | None = None
    details: dict = dataclasses.field(default_factory=dict)
    problem: str | None = None


@dataclass(frozen=True)
class Input:
    folder: Path
    counts: truth.Counts


def keep_log(log: Path, kept: Path, broke_off: bool) -> None:
    """Keep what Postgres logged; where it crashed, or the race `broke_off` in asking it, say what it said then."""
    if not log.exists():
        return
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(log, kept)
    lines = kept.read_text(errors="replace").splitlines()
    crashes = [number for number, line in enumerate(lines) if any(words in line for words in _CRASHED)]
    if broke_off or crashes:
        # clients that try again while it recovers fill the lines behind it
        end = crashes[-1] + LINES // 2 if crashes else len(lines)
        said = "\n".join(lines[max(0, end - LINES) : end])
        print(f"Postgres went away during the race. Of its log, which is kept in {kept}:\n{said}", file=sys.stderr)


class Track:
    """The stack in `folder`, which is not the user's, and inputs beside it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._home = Home((folder / "home").resolve())
        self.stack = Stack(self._home.path)
        self._warm_up = folder / "warm-up"
        orders.write(self._warm_up, WARM_UP_ROWS, WARM_UP_FILES, table="warm_up")
        truth.write(self._warm_up)

    def __enter__(self) -> Track:
        info = self.stack.up()
        self.database_url, self._pid, self._postgres_pid = info.database_url, info.pid, info.postgres_pid
        self._environment = {
            **environment.inherited(self._home),
            **self.stack.env(),
            "SLUICE_HOME": str(self._home.path),
            "PYTHONPATH": str(ROOT),
        }
        return self

    def __exit__(self, _, error: BaseException | None, __) -> None:
        self.stack.down()
        keep_log(self._home.postgres_log, KEPT_LOG, isinstance(error, psycopg2.OperationalError))

    def input(self, rows: int, files: int) -> Input:
        """So many records, and what is true of them."""
        folder = self.folder / f"input-{rows}"
        orders.write(folder, rows, files)
        counts = truth.write(folder)
        with self.cursor() as cursor:
            truth.store(cursor, folder)
        return Input(folder, counts)

    @contextlib.contextmanager
    def cursor(self) -> Iterator:
        with contextlib.closing(psycopg2.connect(self.database_url)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                yield cursor

    def embeddings(self, vectors: int, times: int) -> dict:
        """What `benchmarks.race.embeddings` measured on this stack."""
        command = [sys.executable, "-m", "benchmarks.race.embeddings", "--vectors", str(vectors), "--times", str(times)]
        ran = subprocess.run(command, cwd=ROOT, env=self._environment, stdout=subprocess.PIPE, check=True)
        return json.loads(ran.stdout)

    # --- a heat --------------------------------------------------------------------------

    def heat(self, contestant: Contestant, number: int, given: Input) -> list[Result]:
        """A first load and an identical second one, after a small one that warms the contestant up."""
        schema = "curated" if contestant.is_sluice else f"race_{contestant.name}"
        rows = given.counts.records
        run = f"{contestant.name.replace('_', '-')}-{rows}-{number}"
        scratch = self.folder / "scratch" / run
        scratch.mkdir(parents=True)
        load = Load("", str(given.folder), self.database_url, schema, TABLE, str(scratch))
        self._clear(contestant, schema)
        results = []
        with self._process(contestant) as (process, ask):
            where = schema if contestant.is_sluice else f"{schema}_warm_up"
            warm_up = {"name": f"{run}-warm-up", "folder": str(self._warm_up), "schema": where, "table": "warm_up"}
            answer = ask(dataclasses.replace(load, **warm_up))
            if "error" in answer:
                problem = f"its warm-up failed: {answer['error']}"
                return [Result(contestant.name, number, which, rows, problem=problem) for which in (FIRST, AGAIN)]
            measured = [process.pid, *([self._pid] if contestant.is_sluice else [])]
            for which in (FIRST, AGAIN):
                self._settle()
                with Meter(measured, self._postgres_pid) as meter:
                    answer = ask(dataclasses.replace(load, name=f"{run}-{which}", first=which == FIRST))
                problem = answer.get("error") or self._problem(contestant, schema, which, answer["details"], given)
                results.append(
                    Result(
                        contestant.name,
                        number,
                        which,
                        rows,
                        answer.get("seconds", 0.0),
                        meter.used,
                        answer.get("details", {}),
                        problem,
                    )
                )
        self._clear(contestant, schema)
        shutil.rmtree(scratch)
        return results

    def _problem(self, contestant: Contestant, schema: str, which: str, details: dict, given: Input) -> str | None:
        with self.cursor() as cursor:
            problem = truth.problem(cursor, schema, TABLE, contestant.truth)
        if problem or not contestant.is_sluice:
            return problem
        counts = given.counts
        passing = {"inserted": counts.passing, "unchanged": 0}
        if which == AGAIN:
            passing = {"inserted": 0, "unchanged": counts.passing}
        expected = {
            "fetched": counts.records,
            "updated": 0,
            "duplicates": counts.records - counts.failing - counts.passing,
            "quarantined": counts.failing,
            **passing,
        }
        wrong = [
            f"{name} {details['account'][name]:,}, not {count:,}"
            for name, count in expected.items()
            if details["account"][name] != count
        ]
        return f"its row account is wrong: {', '.join(wrong)}" if wrong else None

    @contextlib.contextmanager
    def _process(self, contestant: Contestant) -> Iterator:
        """A contestant's process, ready, and what to ask it with; it ends with the block."""
        process = subprocess.Popen(
            [contestant.python, "-m", contestant.module],
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(self.folder / f"{contestant.name}.log").open("ab"),
            text=True,
        )

        def read() -> dict:
            line = process.stdout.readline()
            return json.loads(line) if line else {"error": f"its process ended with {process.wait()}"}

        def ask(load: Load) -> dict:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(to_json(load) + "\n")
                process.stdin.flush()
            return read()

        try:
            read()  # that it is ready: its imports are done
            yield process, ask
        except BaseException:
            process.kill()  # an interrupted race does not wait for a load to end
            raise
        finally:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            process.wait()

    def _settle(self) -> None:
        with self.cursor() as cursor:
            cursor.execute("CHECKPOINT")
        os.sync()
        time.sleep(PAUSE_SECONDS)

    def _clear(self, contestant: Contestant, schema: str) -> None:
        """Nothing of an earlier load is left: tables, and what Sluice wrote into the lake and the ledger."""
        with self.cursor() as cursor:
            if not contestant.is_sluice:
                for name in (schema, f"{schema}_staging", f"{schema}_warm_up", f"{schema}_warm_up_staging"):
                    cursor.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")
                cursor.execute(f"CREATE SCHEMA {schema}; CREATE SCHEMA {schema}_warm_up")
                return
            cursor.execute("DROP TABLE IF EXISTS curated.orders, curated.warm_up")
            cursor.execute("DELETE FROM pipeline.runs WHERE table_name IN (%s, 'warm_up')", (TABLE,))
        lake = self.lake()
        for prefix in ("raw/source=files/", "runs/", keys.DECLARATIONS):
            for key in lake.keys(prefix):
                lake.delete(key)

    def lake(self) -> Lake:
        env = self.stack.env()
        return Lake(env["SLUICE_BUCKET"], provision.client("s3", env["AWS_ENDPOINT_URL"]))
