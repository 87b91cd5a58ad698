"""`python -m local.dms FOLDER`: a replication task as a process, started by `local.dms.processes`, ends with SIGTERM.

It ends too when the stack goes down, and begins again where it was when it is started again.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import boto3
import psycopg2

from chalicelib.errors import SluiceError
from local.dms.processes import ALREADY_RUNNING, Folder, acquire
from local.dms.task import Replication, Task

LOG = logging.getLogger("local.dms")

STATUS_SECONDS = 0.5
RETRY_SECONDS = 2  # between two tries to reach a database that is out of reach


def main(folder: Folder) -> int:
    lock = acquire(folder)
    if lock is None:
        return ALREADY_RUNNING
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("botocore").setLevel(logging.WARNING)
    stopping, stack = threading.Event(), folder.stack
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())

    def stopped() -> bool:
        return stopping.is_set() or not stack.exists()

    document = json.loads(folder.task.read_text())
    task = Task(**{**document, "tables": tuple(document["tables"])})
    replication = Replication(task, boto3.client("kinesis"), folder.state, stopped)
    ended, before = threading.Event(), 0  # what replications put whose database broke off

    def tell(state: str | None = None, error: SluiceError | None = None) -> None:
        folder.write_status(before + replication.put, state or replication.state, error)

    reporting = threading.Thread(target=_report, args=(tell, ended), daemon=True)
    reporting.start()
    LOG.info("replicating %s into %s", ", ".join(task.tables), task.stream)
    try:
        while not stopped():
            try:
                replication.run()
            except psycopg2.OperationalError as error:
                LOG.warning("the database broke off: %s", str(error).strip())
                stopping.wait(RETRY_SECONDS)
                again = Replication(task, boto3.client("kinesis"), folder.state, stopped)
                before, replication = before + replication.put, again
    except SluiceError as error:
        LOG.error("%s: %s", type(error).__name__, error)
        ended.set()
        reporting.join()  # else it may write over what comes
        tell(error=error)
        return 0 if stopped() else 1
    ended.set()
    reporting.join()
    tell("stopped")
    LOG.info("stopped; the stream has taken %d records", before + replication.put)
    return 0


def _report(tell: Callable[[], None], ended: threading.Event) -> None:
    while not ended.is_set():
        tell()
        ended.wait(STATUS_SECONDS)


if __name__ == "__main__":
    sys.exit(main(Folder(Path(sys.argv[1]))))
