"""What the states of the machine say to each other: references and counts, never rows.

One request and one result per Lambda. `contract_reading` turns an event into its request and refuses an
event that lacks a field, has one too many, or has one of another type: a typo in the state
machine shows at the first run, by name. What an execution is given is a `run_input.RunInput`.
"""

from __future__ import annotations

from dataclasses import dataclass

# --- shared pieces ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Window:
    """The days a run asks its source for, both ends included, as ISO dates.

    None where the source has no notion of time. `by_cursor` is true when the window was derived
    from the source's cursor, for all of the source, or was given with the wish that it count as such;
    only then does publishing move the cursor.
    """

    start: str | None = None
    end: str | None = None
    by_cursor: bool = False


@dataclass(frozen=True)
class Partition:
    """One independent fetch of a run, such as a weather station, a listing or a file."""

    index: int
    request: dict  # of the source's `partitions`, for it alone; or `quarantine.REQUEST`, or of `redriving.kept_listing`
    live: bool = False  # from the source's own hosts, also where a sample API stands in for them


@dataclass(frozen=True)
class Slice:
    """A piece of one raw object: the bytes [start, end), whose first line is `first_line`.

    `end` is None for "to the end". `lines` is the number of lines where counting was possible
    while cutting, else None. `key` may be a working copy (see `lake.cutting`); `raw_key` is always
    the raw object. `part` numbers the raw objects of a run, in raw order.
    """

    part: int
    key: str
    raw_key: str
    start: int
    end: int | None
    first_line: int
    lines: int | None = None


@dataclass(frozen=True)
class Chunk:
    """What one child of Process works on: consecutive slices of one partition."""

    chunk: int
    partition: int
    request: dict
    format: str  # a name from `lake.formats`
    slices: tuple[Slice, ...]
    header: tuple[str, ...] | None = None  # of a CSV: its slices begin after the header
    delimiter: str | None = None  # of a CSV
    only: str | None = None  # of a replay: where the lines are listed that are meant, by part; the others are left out
    done_by: str | None = None  # the run that it is to be taken over from, see `kept_chunks` and `chunk_results`


@dataclass(frozen=True)
class StoredObject:
    """A raw object of an earlier run, and the `lines` of it that a replay judges again.

    `format`, `delimiter` and `request`, that of a response, are those of the chunks that were cut of it.
    """

    part: int
    key: str
    bytes: int
    sha256: str
    format: str | None
    delimiter: str | None
    request: dict | None
    lines: tuple[int, ...]


# --- Plan ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PlanRequest:
    run_id: str
    execution: str
    started_at: str
    input: dict


@dataclass(frozen=True)
class PlanResult:
    run_id: str
    source: str
    window: Window
    partitions: tuple[Partition, ...]
    fetch_concurrency: int
    process_concurrency: int
    embed: bool
    schema_contract: str  # discard | freeze | evolve
    fetches_on: str = "lambda"  # or container, as the source says
    runs_on: str = "lambda"
    started_at: str = ""  # of the execution
    runs_at_once: int = 1  # so many runs share what the source's hosts take, this one among them


# --- Fetch -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class FetchPartitionRequest:
    run_id: str
    source: str
    partition: Partition
    runs_at_once: int = 1


@dataclass(frozen=True)
class FetchPartitionResult:
    # what it counted; chunks and raw objects themselves are listed in the lake, see `keys.listing`
    partition: int
    objects: int
    bytes: int
    chunks: int


@dataclass(frozen=True)
class WriteManifestRequest:
    run_id: str
    source: str
    fetched: tuple[int, ...]  # the partitions, by index


@dataclass(frozen=True)
class WriteManifestResult:
    """`manifest_key` is a JSON array of `Chunk`, read by the distributed Map."""

    manifest_key: str
    chunks: int
    objects: int
    bytes: int


# --- Process ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class TransformRequest:
    run_id: str
    source: str
    chunk: Chunk


@dataclass(frozen=True)
class TransformResult:
    """`rows_key`: typed rows in Postgres' COPY text format. `rejected_key`: NDJSON, or None.

    records = rows + rejected. `observed_key`: JSON, a `schema.model.Observation` of what differs
    from the columns, or None. `schema_revision` is that of the columns that the rows have, `code` what
    `code_fingerprint` says of the process that made them.
    """

    chunk: int
    records: int
    rows: int
    rejected: int
    rows_key: str
    rejected_key: str | None
    observed_key: str | None
    schema_revision: int
    code: str = ""


@dataclass(frozen=True)
class ValidateRequest:
    run_id: str
    source: str
    chunk: Chunk
    transformed: TransformResult


@dataclass(frozen=True)
class ValidateResult:
    """`rows` are the clean rows of `rows_key`; `results_key` (JSON) has the counts per expectation and the
    positions in `rows_key` that were set aside, so that the clean rows are not written a second time."""

    chunk: int
    records: int
    rows: int
    rejected: int
    rows_key: str
    rejected_keys: tuple[str, ...]
    results_key: str


@dataclass(frozen=True)
class LoadRequest:
    run_id: str
    source: str
    validated: ValidateResult


@dataclass(frozen=True)
class LoadResult:
    chunk: int
    staged: int
    quarantined: int


@dataclass(frozen=True)
class RecordChunkFailureRequest:
    run_id: str
    source: str
    chunk: Chunk
    error: dict  # {"Error": …, "Cause": …} as Step Functions gives it to Catch


@dataclass(frozen=True)
class RecordChunkFailureResult:
    chunk: int
    failure_key: str


@dataclass(frozen=True)
class ContainerTask:
    """What a container is told to do: one chunk of the run's manifest, or one partition of its plan, by number."""

    run_id: str
    source: str
    started_at: str  # of the execution: attempts at the same task have it in common
    chunk: int | None = None
    partition: int | None = None
    runs_at_once: int = 1  # as of a FetchPartitionRequest


# --- ReviewSchema ----------------------------------------------------------------------------


@dataclass(frozen=True)
class ReviewSchemaRequest:
    run_id: str
    source: str
    chunks: int  # in the manifest


@dataclass(frozen=True)
class ReviewSchemaResult:
    """`again`: the chunks are to be processed again, with the columns of `revision`."""

    again: bool
    revision: int
    changes: int


# --- QualityGate and what follows ------------------------------------------------------------


@dataclass(frozen=True)
class QualityGateRequest:
    run_id: str
    source: str
    execution: str
    manifest_key: str


@dataclass(frozen=True)
class Alert:
    subject: str  # of an email: at most 100 characters, one line, ASCII: SNS refuses others
    message: str


@dataclass(frozen=True)
class QualityGateResult:
    verdict: str  # pass | warn | fail
    fetched: int
    staged: int
    quarantined: int
    report_key: str
    alert: Alert
    gathered: bool = False  # a warning is told by who started the run, with those of others


@dataclass(frozen=True)
class PublishRequest:
    run_id: str
    source: str
    verdict: str
    embed: bool


@dataclass(frozen=True)
class PublishResult:
    """`fetched = inserted + updated + unchanged + duplicates + quarantined`, exactly.

    `embed_shards` lists the shards of pending texts, e.g. [0, 1, 2]; empty where there are none.
    """

    fetched: int
    inserted: int
    updated: int
    unchanged: int
    duplicates: int
    quarantined: int
    embed_shards: tuple[int, ...]


@dataclass(frozen=True)
class RejectRequest:
    run_id: str
    source: str


@dataclass(frozen=True)
class RejectResult:
    run_id: str
    status: str


@dataclass(frozen=True)
class EmbedShardRequest:
    run_id: str
    source: str
    shard: int
    shards: int


@dataclass(frozen=True)
class EmbedShardResult:
    shard: int
    embedded: int


@dataclass(frozen=True)
class CompleteRequest:
    run_id: str
    source: str


@dataclass(frozen=True)
class CompleteResult:
    """`left`: what its table lacks still, and why, see `warehouse.upkeep`; the run succeeded nonetheless."""

    run_id: str
    status: str
    embedded: int
    left: tuple[str, ...] = ()


@dataclass(frozen=True)
class RecordFailureRequest:
    """`input` is whatever the execution was given: a wrong one is told too."""

    run_id: str
    execution: str
    input: object
    error: dict


@dataclass(frozen=True)
class RecordFailureResult:
    alert: Alert
