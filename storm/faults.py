"""The faults of a trial, drawn from a list: what happens, where, when and how often."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from chalicelib.lake import keys
from storm import truth

ENDLESS = 100_000  # times; until the trial mends what it broke

# what a lane's source is like: its pages are documents, or lines; it embeds; its chunks are processed in containers;
# it reads what is put into its inbox
DOCUMENTS, LINES, TEXTS, CONTAINERS, INBOX = "documents", "lines", "texts", "containers", "inbox"

# what a run writes and reads in S3: the method, and a part of the key
OBJECTS = (
    ("PUT", "raw/"),
    ("GET", "raw/"),
    ("PUT", "/fetched/"),
    ("GET", "/fetched/"),
    ("PUT", "/manifest.json"),
    ("GET", "/manifest.json"),
    ("PUT", f"/{keys.ROWS}"),
    ("GET", f"/{keys.ROWS}"),
    ("PUT", f"/{keys.RESULTS}"),
    ("GET", f"/{keys.RESULTS}"),
    ("PUT", f"/{keys.MALFORMED}"),
    ("PUT", "/report."),
    ("PUT", "/map/"),
)

# a replay reads the raw objects of the run whose rows it replays, and what Plan says of them
OF_REPLAYS = (
    *(each for each in OBJECTS if each != ("PUT", "raw/")),
    ("PUT", "/replay/"),
    ("GET", "/replay/"),
)

FUNCTIONS = (
    "plan",
    "fetch_partition",
    "write_manifest",
    "transform",
    "validate",
    "load",
    "quality_gate",
    "publish",
    "publish",
    "complete",
)
SEVERAL = ("fetch_partition", "transform", "validate", "load", "embed_shard")  # that a run invokes more than once
IN_CONTAINERS = ("transform", "validate", "load")
# what only a run that fails invokes
OF_FAILURES = ("reject", "record_failure", "record_failure", "record_chunk_failure")


# faults of what a run does only where it fails
_TELLING = ("SNS", "SQS", "telling")


@dataclass(frozen=True)
class Fault:
    """`kind` is its name in reports, `seam` who does it: source, aws, database, run, stack or starts.

    `lasting`: it does not pass by itself within the state machine's retries. `values` are the seam's.
    """

    kind: str
    seam: str
    lasting: bool = False
    values: dict = field(default_factory=dict)


def draw(rng: random.Random, disturbing: bool, kind: str = DOCUMENTS) -> list[Fault]:
    """One to three faults that a lane of this kind can meet, each another one.

    `disturbing`: those that also hit the runs beside it are among them.
    """
    makers = [
        (make, weight)
        for make, weight in (*_MAKERS, *_OWN.get(kind, ()))
        if (disturbing or make not in _DISTURBING) and not (kind == INBOX and make in _OF_THE_WEB)
    ]
    drawn: dict[str, Fault] = {}
    for _ in range(rng.choices((1, 2, 3), (5, 3, 2))[0]):
        [make] = rng.choices([make for make, _ in makers], [weight for _, weight in makers])
        fault = make(rng)
        drawn.setdefault(fault.kind, fault)
    kinds = [
        fault for fault in drawn.values() if kind != CONTAINERS or fault.values.get("function") not in IN_CONTAINERS
    ]
    kinds = kinds or [_container(rng)]
    if any(fault.seam == "starts" for fault in kinds):
        # two runs of one window must be told the same, or nobody knows which of them is right
        kinds = [fault for fault in kinds if fault.kind not in ("source changed", "source spoiled")]
    if _tells_only(kinds):
        spoiled = rng.random() < 0.5 and kind != INBOX and not any(fault.seam == "starts" for fault in kinds)
        kinds.append(_spoiled(rng) if spoiled else _failing(rng))
    return kinds


def draw_for_replay(rng: random.Random) -> list[Fault]:
    """None to two that the run of a replay can meet: it asks no source, and the clocks are those of its trial."""
    makers, weights = zip(*_OF_REPLAYS, strict=True)
    chosen = rng.choices(makers, weights, k=rng.choices((0, 1, 2), (2, 5, 3))[0])
    drawn = {fault.kind: fault for fault in (make(rng) for make in chosen)}
    kinds = list(drawn.values())
    return [*kinds, _failing(rng)] if _tells_only(kinds) else kinds


def _tells_only(kinds: list[Fault]) -> bool:
    """Whether they need a run that fails, and none of them lets it."""
    telling = [fault for fault in kinds if fault.kind.startswith(_TELLING) or fault.values.get("place") == "fail"]
    return bool(telling) and not any(fault.lasting for fault in kinds if fault not in telling)


# --- the source ------------------------------------------------------------------------------


def _source(rng: random.Random) -> Fault:
    action = rng.choice(("429", "429", "500", "hang", "truncated"))
    lasting = rng.random() < 0.15
    times = ENDLESS if lasting else rng.randint(1, 3)
    values = {"action": action, "after": rng.randint(0, 3), "times": times}
    # who waits as asked keeps a worker busy: a lasting one would be waited for half a minute
    seconds = {"429": 0 if lasting else rng.randint(0, 1), "hang": rng.choice((0.5, 4.0))}.get(action, 0)
    return Fault(f"source {action}", "source", lasting, {**values, "seconds": seconds})


def _changed(rng: random.Random) -> Fault:
    return Fault(
        "source changed", "source", False, {"action": truth.CHANGED, "after": rng.randint(1, 5), "times": ENDLESS}
    )


def _spoiled(rng: random.Random) -> Fault:
    return Fault("source spoiled", "source", True, {"action": truth.SPOILED, "after": 0, "times": ENDLESS})


# --- AWS and the workers -----------------------------------------------------------------------


def _database_of_replay(rng: random.Random) -> Fault:
    """Of the few rows that are judged again."""
    made = _database(rng)
    return replace(made, values={**made.values, "after": min(made.values["after"], rng.randint(0, 2))})


def _stopped_replay(rng: random.Random) -> Fault:
    """A command needs a second, and on a busy machine some, before it starts the run."""
    return replace(_stopped(rng), values={"action": "run stopped", "at": round(rng.uniform(1.2, 4.0), 2)})


def _swept_replay(rng: random.Random) -> Fault:
    return replace(_swept(rng), values={"action": "swept meanwhile", "at": round(rng.uniform(1.2, 4.0), 2)})


def _s3_of_replay(rng: random.Random) -> Fault:
    return _s3(rng, OF_REPLAYS)


def _s3(rng: random.Random, objects: Sequence[tuple[str, str]] = OBJECTS) -> Fault:
    method, key = rng.choice(objects)
    actions = ("error", "slow-down", "unheard", "kill") if method == "PUT" else (
        "error", "slow-down", "missing", "stale", "cut", "kill")  # fmt: skip
    action = rng.choice(actions)
    # four tries of boto's make one of the state machine's
    times = rng.choice((1, 1, 2, 4, 5, 9))
    lasting = action in ("missing", "stale")
    values = {
        "service": "s3",
        "action": action,
        "texts": [f"{method} ", key],
        "after": rng.randint(0, 3),
        "times": times,
    }
    return Fault(f"S3 {action}", "aws", lasting, values)


def _worker(rng: random.Random) -> Fault:
    action = rng.choice(("kill", "kill", "kill-after", "kill-after", "timeout", "memory", "throttle", "unheard"))
    return _of_function(rng, action, rng.choice(FUNCTIONS))


def _of_function(rng: random.Random, action: str, function: str) -> Fault:
    lasting = rng.random() < 0.25
    seconds = {"kill": rng.choice((0, 0.005, 0.02, 0.1)), "timeout": rng.choice((0.001, 0.02, 0.1))}.get(action, 0)
    if action == "unheard":
        seconds = rng.choice((0, 0, 0.05, 0.3, 1.5))
    values = {
        "service": "lambda",
        "action": action,
        "function": function,
        "after": rng.choice((0, 0, 1)) if function in SEVERAL else 0,
        "times": 9 if lasting else rng.randint(1, 2),
        "seconds": seconds,
    }
    kinds = {"kill": "worker killed", "kill-after": "worker killed before it answered", "timeout": "handler timeout",
             "memory": "out of memory", "throttle": "Lambda throttled", "unheard": "answer not heard"}  # fmt: skip
    return Fault(kinds[action], "aws", lasting, values)


def _telling(rng: random.Random) -> Fault:
    """The functions that tell of a failure fail themselves."""
    action = rng.choice(("kill", "kill-after", "unheard", "timeout"))
    lasting = rng.random() < 0.3
    values = {"service": "lambda", "action": action, "function": rng.choice(OF_FAILURES), "seconds": 0.005}
    return Fault("telling of a failure", "aws", lasting, {**values, "times": 9 if lasting else 1})


def _failing(rng: random.Random) -> Fault:
    """A run that fails for sure."""
    function = rng.choice(("write_manifest", "quality_gate", "publish", "complete"))
    values = {"service": "lambda", "action": "kill", "function": function, "times": 9}
    return Fault("worker killed", "aws", True, values)


def _messages(rng: random.Random) -> Fault:
    service = rng.choice(("sns", "sqs"))
    lasting = rng.random() < 0.4
    action = rng.choice(("error", "error", "unheard"))
    times = ENDLESS if lasting else rng.randint(1, 3)
    values = {"service": service, "action": action, "times": times}
    return Fault(f"{service.upper()} {'unheard' if action == 'unheard' else 'unavailable'}", "aws", lasting, values)


def _engine_clock(rng: random.Random) -> Fault:
    seconds = rng.choice((-90_000, -3600, -2, 2, 3600, 90_000))
    values = {"service": "lambda", "action": "clock", "function": "plan", "times": ENDLESS, "seconds": seconds}
    return Fault("clock of the state machine", "aws", False, values)


# --- Postgres ------------------------------------------------------------------------------------


def _database(rng: random.Random) -> Fault:
    place = rng.choice(
        ("open", "copy", "copy", "copy", "chunk", "quarantine", "judge", "merge", "merge", "merge", "publish",
         "commit", "commit", "complete", "fail")
    )  # fmt: skip
    return _at_row(rng, place)


def _at_row(rng: random.Random, place: str) -> Fault:
    action = rng.choice(("cut", "disk full", "lock timeout", "read-only", "deadlock"))
    lasting = rng.random() < 0.25
    # a run copies some 130 rows, merges some 90, embeds some 100
    after = rng.randint(0, 40) if place in ("copy", "merge", "embed") else rng.randint(0, 1) if place == "chunk" else 0
    values = {"place": place, "action": action, "after": after, "times": ENDLESS if lasting else rng.randint(1, 2)}
    named = {"copy": " in COPY", "commit": " in the commit", "merge": " in the merge", "embed": " in EmbedShard"}
    return Fault(("connection cut" if action == "cut" else action) + named.get(place, ""), "database", lasting, values)


def _database_clock(rng: random.Random) -> Fault:
    shift = rng.choice(("-2 hours", "-1 minute", "-1 second", "1 second", "2 hours"))
    return Fault("clock of Postgres", "database", False, {"place": "clock", "action": "clock", "shift": shift})


# --- what only some lanes have ---------------------------------------------------------------------


def _embedding(rng: random.Random) -> Fault:
    if rng.random() < 0.5:
        return _at_row(rng, "embed")
    action = rng.choice(("kill", "kill", "kill-after", "timeout", "memory", "throttle", "unheard"))
    made = _of_function(rng, action, "embed_shard")
    return Fault(f"{made.kind} in EmbedShard", made.seam, made.lasting, made.values)


def _container(rng: random.Random) -> Fault:
    action = rng.choice(("kill", "kill", "kill", "memory", "error"))
    lasting = rng.random() < 0.15
    # its interpreter takes the first second
    values = {
        "service": "ecs",
        "action": action,
        "after": rng.randint(0, 2),
        "times": 30 if lasting else rng.randint(1, 2),
        "seconds": rng.choice((0.0, 0.5, 1.0, 1.2, 1.5)) if action == "kill" else 0.0,
    }
    kinds = {"kill": "container killed", "memory": "container out of memory", "error": "ECS unavailable"}
    return Fault(kinds[action], "aws", lasting, values)


def _trigger(rng: random.Random) -> Fault:
    """Of what makes a run of an object in the inbox."""
    action = rng.choice(("twice", "twice", "twice", "states", "states", "function", "function", "function"))
    if action == "twice":
        return Fault("event delivered twice", "starts", False, {"action": "twice", "count": rng.randint(2, 4)})
    if action == "states":
        action = rng.choice(("error", "unheard"))
        values = {"service": "states", "action": action, "texts": ["inbox/"], "times": rng.choice((1, 2, 6, 9))}
        return Fault(f"Step Functions {'unheard' if action == 'unheard' else 'unavailable'}", "aws", False, values)
    action = rng.choice(("kill", "kill-after", "timeout", "memory", "throttle", "unheard"))
    made = _of_function(rng, action, "start_run")
    # whose message is given up after some tries: then it lies among those that were not delivered
    return Fault(f"{made.kind} in StartRun", "aws", False, made.values)


# --- all at once: also the runs beside it notice ---------------------------------------------------


def _stack(rng: random.Random) -> Fault:
    action = rng.choices(
        ("Postgres restarted", "Postgres killed", "all connections cut", "all read-only", "all workers killed"),
        (3, 2, 4, 3, 3),
    )[0]
    return Fault(action, "stack", False, {"action": action, "at": round(rng.uniform(0.05, 2.0), 2)})


def _stopped(rng: random.Random) -> Fault:
    """Somebody stops the execution: no state tells of it, and the sweep has to."""
    return Fault("run stopped", "run", False, {"action": "run stopped", "at": round(rng.uniform(0.02, 1.2), 2)})


def _swept(rng: random.Random) -> Fault:
    """The sweep comes while the run is under way, on a clock by which that has gone on for hours."""
    return Fault("swept meanwhile", "run", False, {"action": "swept meanwhile", "at": round(rng.uniform(0.02, 1.5), 2)})


def _engine(rng: random.Random) -> Fault:
    action = rng.choice(("engine stopped", "engine killed"))
    return Fault(action, "stack", False, {"action": action, "at": round(rng.uniform(0.05, 2.0), 2)})


# --- starts ------------------------------------------------------------------------------------------


def _starts(rng: random.Random) -> Fault:
    action = rng.choice(("doubled start", "simultaneous runs"))
    return Fault(action, "starts", False, {"action": action, "count": rng.randint(2, 4 if action[0] == "d" else 2)})


_MAKERS: tuple[tuple[Callable[[random.Random], Fault], float], ...] = (
    (_source, 5),
    (_changed, 2),
    (_spoiled, 1),
    (_s3, 8),
    (_worker, 9),
    (_messages, 3),
    (_telling, 1.5),
    (_engine_clock, 1),
    (_database, 11),
    (_database_clock, 1),
    (_stack, 1.5),
    (_engine, 0.4),
    (_stopped, 1),
    (_swept, 1),
    (_starts, 4),
)
_OWN = {TEXTS: ((_embedding, 25),), CONTAINERS: ((_container, 30),), INBOX: ((_trigger, 25),)}
_OF_THE_WEB = (_source, _changed, _spoiled, _starts)
_DISTURBING = (_stack, _engine)
_OF_REPLAYS = (
    (_s3_of_replay, 8),
    (_worker, 9),
    (_messages, 2),
    (_telling, 1.5),
    (_database_of_replay, 13),
    (_stopped_replay, 1.5),
    (_swept_replay, 1.5),
)
