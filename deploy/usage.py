"""What a run used of AWS: from its history, its functions' logs, and the objects it left in the lake.

A state transition is "each time a step of your workflow is executed", retries included
(https://aws.amazon.com/step-functions/pricing/), and one for each child that a distributed Map starts, none
for the iterations of an inline one (https://docs.aws.amazon.com/step-functions/latest/dg/concepts-transitions.html).
The children are standard executions, so their own states count too. Their histories are executions of their own,
which moto lacks and which of thousands nobody wants to read: what they did is taken from the functions' logs, and
without those from the states that each child goes through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from chalicelib import asl
from chalicelib.errors import ConfigurationError
from chalicelib.executions import Execution
from chalicelib.lake import keys
from chalicelib.lake.parts import PART_BYTES
from deploy.cost import COUNTED, DERIVED, MEASURED, Quantity
from deploy.log_usage import RunLog
from deploy.prices import GB, HOURS_PER_MONTH
from statemachine import render

# Titan's characters per token on average: https://docs.aws.amazon.com/bedrock/latest/userguide/titan-embedding-models.html
CHARACTERS_PER_TOKEN = 4.7

_MB_PER_GB = 1024
_STANDARD = "STANDARD"
# how the keys of rejected rows end
_REJECTED = tuple(f"/{name}" for name in (keys.MALFORMED, keys.FAILING))
# of the keys that `chalicelib.lake.keys` makes: written as streams, in parts once they outgrow one
_STREAMED = ("/part-", *_REJECTED)
# GETs of a chunk: Transform reads its slices, Validate the rows, Load the rows and the results
_GETS_PER_CHUNK = 4
# states whose container does a chunk, and a partition
_CHUNK_CONTAINER, _PARTITION_CONTAINER = "ProcessChunkInContainer", "FetchPartitionInContainer"
_STAGES_PER_CHUNK = 3
# the Map reads the manifest and QualityGate reads it again
_GETS_OF_THE_MANIFEST = 2


@dataclass(frozen=True)
class Size:
    """How a function is configured: what a second of it costs depends on both."""

    memory_mb: int
    architecture: str  # x86_64 | arm64


@dataclass(frozen=True)
class Stored:
    """An object that a run left in the lake."""

    key: str
    bytes: int


@dataclass(frozen=True)
class Attempts:
    """How often a state was tried, over all its visits; a state without work of its own counts its visits."""

    state: str
    times: int
    is_inside: bool  # in the children of a distributed Map


def attempts(execution: Execution, log: RunLog | None) -> list[Attempts]:
    """Every state that ran. Inside a distributed Map the log knows retries and failed chunks, the history does not."""
    inside, firsts = _inside_distributed(execution.definition)
    found = []
    for name, state, _ in asl.placed(execution.definition):
        seen = execution.states[name]
        times = seen.entered + seen.retries
        if name in inside and log and _is_lambda(state):
            logged = len(log.milliseconds.get(render.snake_case(name), ()))
            # each child comes to the first state, whether or not the attempt lived to log it; not to the others
            times = max(times, logged) if name in firsts else logged
        if times:
            found.append(Attempts(name, times, name in inside))
    return found


def transitions(execution: Execution, log: RunLog | None) -> list[Quantity]:
    """State transitions of the execution itself, and of the children of its distributed Maps."""
    tried = attempts(execution, log)
    own = sum(each.times for each in tried if not each.is_inside)
    started = sum(
        children.total or children.done
        for name, state, _ in asl.placed(execution.definition)
        if asl.is_distributed(state) and (children := execution.states[name].children)
    )
    within = sum(each.times for each in tried if each.is_inside)
    note = f"{started} started, {within} states in them"
    if log is None:
        note += "; no log tells of retries and failures in them"
    return [
        Quantity("states.transition", own, COUNTED, "states of the execution, retries included"),
        Quantity("states.transition", started + within, MEASURED if log else DERIVED, f"children of the Map: {note}"),
    ]


def invocations(execution: Execution, log: RunLog | None, size: Callable[[str], Size]) -> list[Quantity]:
    """Lambda requests and GB-seconds. `size` tells how a function is configured, by its Chalice name."""
    states = {name: state for name, state, _ in asl.placed(execution.definition)}
    requests, gb_seconds, unmeasured = 0, {}, 0
    for each in attempts(execution, log):
        if not _is_lambda(states[each.state]):
            continue
        function = render.snake_case(each.state)
        measured = log.milliseconds.get(function, []) if log else []
        requests += each.times
        seconds = sum(measured) / 1000
        if len(measured) < each.times:
            unmeasured += each.times - len(measured)
            if not measured and not each.is_inside:  # its time by the history: waiting and the call itself included
                seconds = execution.states[each.state].seconds
        its = size(function)
        item = f"lambda.gb_second.{its.architecture}"
        gb_seconds[item] = gb_seconds.get(item, 0.0) + seconds * its.memory_mb / _MB_PER_GB
    note = "what the stages took; cold starts (INIT and imports) are billed and not in it"
    if unmeasured:
        note += f"; {unmeasured} of {requests} left no measurement: they crashed, ran out of time, or there is no log"
    return [
        Quantity("lambda.request", requests, COUNTED if log else DERIVED, "attempts of the states that call one"),
        *(Quantity(item, amount, MEASURED if log else DERIVED, note) for item, amount in sorted(gb_seconds.items())),
    ]


def messages(execution: Execution, log: RunLog | None, addresses: int) -> list[Quantity]:
    """SNS and SQS; each message goes to so many `addresses`."""
    states = {name: state for name, state, _ in asl.placed(execution.definition)}
    sent = {"sns:publish": 0, "sqs:sendMessage": 0}
    for each in attempts(execution, log):
        action = states[each.state].get("Resource", "").removeprefix("arn:aws:states:::")
        if action in sent:
            sent[action] += each.times
    return [
        Quantity("sns.publish", sent["sns:publish"], COUNTED, ""),
        Quantity("sns.email", sent["sns:publish"] * addresses, DERIVED, f"to {addresses} of each message"),
        Quantity("sqs.request", sent["sqs:sendMessage"], COUNTED, "dead letters"),
    ]


def lake(execution: Execution, objects: Iterable[Stored], log: RunLog | None) -> list[Quantity]:
    """S3 requests, as far as the objects and the history tell them."""
    objects = list(objects)
    tried = {each.state: each.times for each in attempts(execution, log)}
    in_containers, fetched = tried.get(_CHUNK_CONTAINER, 0), tried.get(_PARTITION_CONTAINER, 0)
    containers = in_containers + fetched
    chunks = tried.get("Transform", 0) + in_containers
    functions = sum(times for state, times in tried.items() if render.snake_case(state) in render.lambda_functions())
    functions += in_containers * _STAGES_PER_CHUNK + fetched
    declared = any(stored.key.startswith(keys.DECLARATIONS) for stored in objects)
    rejected = sum(stored.key.endswith(_REJECTED) for stored in objects)
    gets = chunks * _GETS_PER_CHUNK + rejected + tried.get("FetchPartition", 0) + fetched + functions * declared
    gets += 2 * containers  # each looks up what it is to do, and what an earlier attempt left
    if chunks:
        gets += _GETS_OF_THE_MANIFEST
    puts = sum(map(_puts, objects))
    return [
        Quantity("s3.put", puts, DERIVED, f"from {len(objects)} objects and their sizes"),
        Quantity("s3.get", gets, DERIVED, "from partitions, chunks and what each stage reads"),
    ]


def logs(log: RunLog | None, of_containers: RunLog | None = None) -> list[Quantity]:
    """What CloudWatch takes in of one run."""
    if log is None:
        return [Quantity("logs.gb", None, DERIVED, "no log"), Quantity("cloudwatch.metric_month", None, DERIVED, "")]
    both = [log, *([of_containers] if of_containers else [])]
    whose = "functions and containers" if of_containers else "functions"
    metric_hours = sum(each.metric_hours for each in both)
    note = f"{sum(each.lines for each in both)} lines of the {whose}; "
    note += "Lambda's own and the state machine's log come on top"
    metrics = f"{metric_hours} metrics, each for the hour in which it was reported"
    return [
        Quantity("logs.gb", sum(each.bytes for each in both) / GB, MEASURED, note),
        Quantity("cloudwatch.metric_month", metric_hours / HOURS_PER_MONTH, MEASURED, metrics),
    ]


def embeddings(characters: int) -> list[Quantity]:
    note = f"{characters:,} characters at {CHARACTERS_PER_TOKEN} a token"
    return [Quantity("bedrock.titan_v2_token", round(characters / CHARACTERS_PER_TOKEN), DERIVED, note)]


def storage(objects: Iterable[Stored]) -> dict[str, Quantity]:
    """What is kept, by the first part of the key, such as `raw` and `runs`. Its price is one of every month."""
    sizes: dict[str, int] = {}
    for stored in objects:
        first = stored.key.split("/", 1)[0]
        sizes[first] = sizes.get(first, 0) + stored.bytes
    return {
        first: Quantity("s3.gb_month", size / GB, COUNTED, f"{first}/, {size:,} bytes")
        for first, size in sorted(sizes.items())
    }


def of_run(
    execution: Execution,
    log: RunLog | None,
    objects: Iterable[Stored],
    size: Callable[[str], Size],
    addresses: int = 1,
    characters: int = 0,
    of_containers: RunLog | None = None,
) -> list[Quantity]:
    """All that a run used and that is paid once, but for its containers' time. `characters` of text were embedded.

    `log` is that of the functions, `of_containers` that of the containers.
    """
    objects = list(objects)
    return [
        *transitions(execution, log),
        *invocations(execution, log, size),
        *lake(execution, objects, log),
        *logs(log, of_containers),
        *messages(execution, log, addresses),
        *embeddings(characters),
    ]


def _puts(stored: Stored) -> int:
    """Requests that wrote it: one, or those that begin, fill and end a multipart upload."""
    if stored.bytes < PART_BYTES or not any(part in stored.key for part in _STREAMED):
        return 1
    return -(-stored.bytes // PART_BYTES) + 2


def is_container(execution: Execution, state: str) -> bool:
    """Whether the state runs a task on ECS."""
    states = {name: found for name, found, _ in asl.placed(execution.definition)}
    return ":ecs:runTask" in states[state].get("Resource", "")


def _is_lambda(state: Mapping) -> bool:
    return state.get("Resource", "").endswith(":lambda:invoke")


def _inside_distributed(definition: dict) -> tuple[set[str], set[str]]:
    """The states in distributed Maps, and those they begin with.

    Raises ConfigurationError for children that are Express executions.
    """
    found, firsts = set(), set()
    for name, state, _ in asl.placed(definition):
        if not asl.is_distributed(state):
            continue
        for machine in asl.inner(state):
            if machine["ProcessorConfig"].get("ExecutionType", _STANDARD) != _STANDARD:
                raise ConfigurationError(
                    f"the children of {name} are Express executions, which are billed by time and memory",
                    next_step="teach deploy/usage.py their prices, or make them standard again",
                )
            found |= {placed.name for placed in asl.placed(machine)}
            firsts.add(machine["StartAt"])
    return found, firsts
