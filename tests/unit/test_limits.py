"""What one execution can carry: refused while there is still somebody to tell."""

import json

import pytest

from chalicelib import limits
from chalicelib.contract_reading import write_contract
from chalicelib.contracts import Partition, PlanResult, Window
from chalicelib.errors import ContractError

INPUT = {"source": "weather", "from": "2024-01-01"}


def planned(number: int, request=None) -> PlanResult:
    request = request or {"station": "Frankfurt am Main", "start": "2024-01-01", "end": "2024-12-31"}
    partitions = tuple(Partition(index, request) for index in range(number))
    return PlanResult("r" * 80, "weather", Window("2024-01-01", "2024-12-31"), partitions, 4, 40, False, "discard")


def largest_state(plan: PlanResult) -> dict:
    """An execution in AlertFailure, after every other state has left the most that it can."""
    result = {"result": {"report_key": "k" * 200, "alert": {"subject": "s" * 100, "message": "m" * 8_000}}}
    error = {"Error": "E" * 256, "Cause": "c" * 32_000}
    return {
        **INPUT,
        "plan": {"result": write_contract(plan)},
        "fetched": [partition.index for partition in plan.partitions],
        "manifest": {"result": {"manifest_key": "k" * 200, "chunks": 10**9, "objects": 10**9, "bytes": 10**15}},
        "gate": result,
        "publish": {"result": {"fetched": 10**12, "embed_shards": list(range(limits.EMBED_SHARDS))}},
        "failure": result,
        "error": error,
        "record_error": error,
    }


@pytest.mark.parametrize("plan", [planned(1_000), planned(limits.PARTITIONS, {"location": "/data/2024.csv"})])
def test_a_plan_that_is_accepted_ends_below_what_step_functions_carries(plan):
    limits.check(plan, INPUT)
    assert len(json.dumps(largest_state(plan)).encode()) < limits.STATE_BYTES


def test_more_partitions_than_the_history_has_events_for_are_refused():
    with pytest.raises(ContractError, match="3,000 partitions were planned; one run takes 2,000"):
        limits.check(planned(3_000, {}), INPUT)


def test_partitions_that_take_too_many_bytes_are_refused_with_wrappers_and_results_counted():
    with pytest.raises(ContractError, match=r"1,900 partitions take [0-9,]+ bytes to describe"):
        limits.check(planned(1_900), INPUT)
    with pytest.raises(ContractError, match="2 partitions take"):
        limits.check(planned(2, {"query": "ä" * 20_000}), INPUT)


def test_partitions_and_shards_together_leave_events_for_a_thousand_retries():
    used = limits.PARTITIONS * limits.EVENTS_PER_PARTITION + limits.EMBED_SHARDS * limits.EVENTS_PER_SHARD
    assert used + 1_000 * 3 < limits.HISTORY_EVENTS
