"""What one execution can carry, from the quotas of Step Functions.

https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html: 256 KiB of state, 25,000 events of
history. Beyond either an execution ends at once: no Catch, no email, no dead letter, and the ledger says
`running` for ever. So Plan refuses what would not fit, while there is still somebody to tell.
"""

from __future__ import annotations

import json

from chalicelib.contract_reading import write_contract
from chalicelib.contracts import PlanResult
from chalicelib.errors import ContractError

STATE_BYTES = 256 * 1024
HISTORY_EVENTS = 25_000

# What the state holds beside the plan and the numbers of the partitions fetched: the other states' results (the
# largest are an alert of 8 KB and the list of shards, 5 bytes each), and the names and causes of two errors,
# which Step Functions cuts at 32 KB each.
RESERVE_BYTES = 80 * 1024

# A partition leaves 9 events: its iteration begins and ends, FetchPartition is entered, scheduled, started, succeeded
# and left, PartitionFetched is entered and left. A shard leaves 7. Together 21,500; a retry takes 3 of the others.
EVENTS_PER_PARTITION, EVENTS_PER_SHARD = 9, 7
PARTITIONS = 2_000
EMBED_SHARDS = 500


def check(plan: PlanResult, given: object) -> None:
    """Raise ContractError for a plan that one execution cannot carry to its end; `given` is the execution's input."""
    number = len(plan.partitions)
    next_step = "take a shorter window, or fewer and larger partitions per run"
    if number > PARTITIONS:
        raise ContractError(
            f"{number:,} partitions were planned; one run takes {PARTITIONS:,}", source=plan.source, next_step=next_step
        )
    room = STATE_BYTES - RESERVE_BYTES
    if (size := state_bytes(plan, given)) > room:
        raise ContractError(
            f"{number:,} partitions take {size:,} bytes to describe; the state machine carries {room:,}",
            source=plan.source,
            next_step=next_step,
        )


def state_bytes(plan: PlanResult, given: object) -> int:
    """The state once everything is fetched, written the long way: with blanks, non-ASCII characters escaped."""
    fetched = [partition.index for partition in plan.partitions]
    return len(json.dumps({"input": given, "plan": {"result": write_contract(plan)}, "fetched": fetched}))
