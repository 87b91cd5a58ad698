"""What the gate says of a run's columns: changes that are made, that would have been, and that the suite keeps away."""

import pytest

from chalicelib.columns import Column
from chalicelib.contract_reading import write_contract
from chalicelib.quality import columns_report
from chalicelib.quality.verdict import WARN
from chalicelib.schema.model import WIDEN, Change, Observation, Schema, Seen
from chalicelib.sources.base import Source

RAW = "raw/source=orders/part-00000-00000.ndjson"


class Orders(Source):
    name = "orders"
    key = ("id",)
    columns = (Column("id", "bigint"), Column("amount", "integer"))


def report(*seen, contract="evolve", changes=()):
    source = Orders()
    source.schema_contract, source.schema = contract, Schema(1, Orders.columns, changes=changes)
    results = [{"schema": {"revision": 0, "observed": write_contract(one) if one else None}} for one in seen]
    return columns_report.made(source, results)


def test_a_column_that_the_suite_keeps_is_told_with_the_type_that_its_rows_need():
    chunks = [Observation(misfits=(Seen("amount", kind, 1, RAW, line),)) for kind, line in (("text", 7), ("bigint", 9))]
    [finding] = columns_report.findings(report(*chunks, None))
    assert finding.level == WARN
    assert finding.text == (
        "column amount keeps its type, since the suite or an anomaly that judges it could not judge text, "
        "which 2 of the quarantined rows need"
    )
    assert [(example.raw, example.line) for example in finding.examples] == [(RAW, 7)]


@pytest.mark.parametrize("contract", ["discard", "freeze"])
def test_no_other_contract_would_have_widened_it(contract):
    seen = Observation(misfits=(Seen("amount", "text", 1, RAW, 7),))
    assert columns_report.findings(report(seen, contract=contract)) == []


def test_a_change_of_a_rejected_run_is_told_as_one_that_would_have_been_made():
    widened = Change(WIDEN, "amount", "numeric", "amount", "integer", 1, RAW, 3)
    found = report(changes=(widened,))
    [made], [rejected] = columns_report.findings(found), columns_report.findings(found, published=False)
    assert made.text == "column amount is widened from integer to numeric, which 1 record needs"
    assert rejected.text == "column amount would have been widened from integer to numeric, which 1 record needs"
    assert made.level == rejected.level == WARN


def test_fields_whose_names_are_not_told_are_counted():
    seen = [
        Observation((Seen("tip", None, 2),), more=3, nameless=1),
        Observation((Seen("tip", None, 1),), more=3, nameless=4),
    ]
    found = report(*seen, contract="discard")
    assert (found.raw_only, found.more) == ((("tip", 3),), 7)
