"""The names of everything in the lake, in one place."""

from __future__ import annotations

import re

# what is put below it is a run of the source whose folder it is in
INBOX = "inbox/"
WEBHOOKS = "webhooks/"
# of runs; not below `runs/`, which expires: the table and the quarantined rows outlive that
DECLARATIONS = "declarations/"

# what stages leave of a chunk: Transform the first three, Validate the next two, RecordChunkFailure the last
ROWS, OBSERVED, MALFORMED = "rows.copy", "observed.json", "malformed.ndjson"
FAILING, RESULTS = "failing.ndjson", "results.json"
FAILURE = "failure.json"


def raw(source: str, day: str, run_id: str, partition: int, page: int, suffix: str) -> str:
    """A raw object: what the source said, byte for byte. `day` is an ISO date, `suffix` e.g. "ndjson.gz"."""
    return f"raw/source={source}/date={day}/run={run_id}/part-{partition:05d}-{page:05d}.{suffix}"


def listing(run_id: str, partition: int) -> str:
    return f"{listings(run_id)}{partition:05d}.json"


def listings(run_id: str) -> str:
    """The prefix of what the run's partitions stored."""
    return f"runs/{run_id}/fetched/"


def working_copy(run_id: str, partition: int, page: int, suffix: str) -> str:
    """A raw object as plain lines, where the original cannot be cut by byte range."""
    return f"runs/{run_id}/work/part-{partition:05d}-{page:05d}.{suffix}"


def declaration(run_id: str) -> str:
    """What the run's source is, where the run declares it."""
    return f"{DECLARATIONS}{run_id}.json"


def schema(run_id: str) -> str:
    """The columns that the run works with, where its contract lets them be others than the declared ones."""
    return f"runs/{run_id}/schema.json"


def replayed_objects(run_id: str) -> str:
    """The raw objects of the original run, each with the lines that a replay judges again."""
    return f"runs/{run_id}/replay/objects.json"


def replayed_rows(run_id: str) -> str:
    """The same lines by number of the raw object, for those who read chunks."""
    return f"runs/{run_id}/replay/rows.json"


def manifest(run_id: str) -> str:
    return f"runs/{run_id}/manifest.json"


def chunk(run_id: str, number: int, name: str) -> str:
    """`name` is one of those above."""
    return f"runs/{run_id}/chunks/{number:05d}/{name}"


def chunks(run_id: str) -> str:
    """The prefix of everything that the run's chunks wrote."""
    return f"runs/{run_id}/chunks/"


def partitions(run_id: str) -> str:
    """The run's partitions, for containers that fetch: an array of `Partition`."""
    return f"runs/{run_id}/partitions.json"


def container(run_id: str, kind: str, number: int) -> str:
    """How the last container for a chunk or a partition (`kind`) ended; `container_result` describes it."""
    return f"runs/{run_id}/containers/{kind}-{number:05d}.json"


def report(run_id: str, suffix: str) -> str:
    """`suffix` is html or json."""
    return f"runs/{run_id}/report.{suffix}"


def inbox(source: str) -> str:
    """The prefix of the objects that runs of a source are started with."""
    return f"{INBOX}{source}/"


def readings(day: str, time: str) -> str:
    """What the simulated sensors sent in the five minutes before; `day` is an ISO date, `time` HHMM, both UTC's."""
    return f"{INBOX}sensors/date={day}/{time}.ndjson"


def webhook(source: str, delivery: str) -> str:
    """What a webhook brought, as it came."""
    return f"{WEBHOOKS}{source}/{delivery}.json"


def collection(source: str, delivery: str) -> str:
    """The mark of a webhook's delivery whose events are in the inbox."""
    return f"collected/{source}/{delivery}.json"


_COLLECTED = re.compile(INBOX + r"[a-z][a-z0-9_]*/webhook-[0-9a-f]{32}\.ndjson", re.ASCII)


def is_collected(key: str) -> bool:
    """Whether `key` is one that `collected` gives."""
    return _COLLECTED.fullmatch(key) is not None


def collected(source: str, digest: str) -> str:
    """Events of webhooks for one run. `digest`, 32 hexadecimal digits, stands for the objects they are from."""
    return f"{INBOX}{source}/webhook-{digest}.ndjson"
