"""What webhooks bring to a source whose files are CSV, and odd files of its inbox: nothing is lost or misread."""

import json
import os
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest
from test_error_paths import hindrance
from test_triggers import Ways, until
from test_webhooks_http import post, signed

from chalicelib import executions
from chalicelib.lake import keys
from chalicelib.warehouse.publishing import COUNTS
from chalicelib.webhooks import signature
from local.stack import Stack
from tests.features.conftest import WEBHOOK_SECRET, Pipeline

HEADER = "id,name,Weight KG"
# a suite may ask for more than one event can say: no batch with such a weight is published
HEAVIEST = {
    "type": "expect_column_max_to_be_between",
    "kwargs": {"column": "weight_kg", "max_value": 5000},
    "severity": "critical",
}


def sluice(folder: Path, home: Path, *arguments: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-m", "cli", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "SLUICE_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@dataclass
class Parcels(Ways):
    """A stack in a checkout of its own, and its source `parcels`, made from a CSV."""

    folder: Path

    def sluice(self, *arguments: str) -> str:
        return sluice(self.folder, self.pipeline.home, *arguments)

    def bring(self, events: list[dict]) -> str:
        """Send events as one delivery; the address of the object that they are collected in."""
        body = json.dumps(events).encode()
        headers = signed(body)
        assert post(self.pipeline, "/webhooks/parcels", body, headers.items())[0] == 202
        mark = keys.collection("parcels", headers[signature.DELIVERY])
        bucket, s3 = self.pipeline.env["SLUICE_BUCKET"], self.pipeline.client("s3")

        def collected():
            found = s3.list_objects_v2(Bucket=bucket, Prefix=mark).get("Contents")
            return found and json.load(s3.get_object(Bucket=bucket, Key=mark)["Body"])["object"]

        return f"s3://{bucket}/{until(collected)}"

    def names(self, like: str) -> list[str]:
        found = self.pipeline.query("SELECT name FROM curated.parcels WHERE name LIKE %s ORDER BY id", f"{like}%")
        return [name for (name,) in found]

    def row(self, run_id: str) -> dict:
        [(row,)] = self.pipeline.query("SELECT row_to_json(r) FROM pipeline.runs r WHERE run_id = %s", run_id)
        return row

    def account(self, run_id: str) -> tuple:
        return tuple(self.row(run_id)[name] for name in COUNTS)

    def quarantined(self, run_id: str) -> dict[str, list[str]]:
        """The reasons by raw record."""
        found = self.pipeline.query(
            "SELECT record, (SELECT array_agg(reason ->> 'message') FROM jsonb_array_elements(reasons) AS reason)"
            " FROM pipeline.quarantine WHERE run_id = %s",
            run_id,
        )
        return dict(found)

    def listed(self, address: str) -> list[dict]:
        """What `sluice quarantine objects` has of an object."""
        found = json.loads(self.sluice("quarantine", "objects", "--source", "parcels", "--limit", "1000", "--json"))
        return [one for one in found if f"s3://{one['bucket']}/{one['key']}" == address]


@pytest.fixture(scope="module")
def parcels(checkout, tmp_path_factory):
    folder, home = checkout(), tmp_path_factory.mktemp("stack")
    sample = folder / "sample.csv"
    sample.write_text(f"{HEADER}\n" + "".join(f"{number},name {number},{number}.5\n" for number in range(1, 40)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLUICE_TOKENS", json.dumps({"webhook:parcels": WEBHOOK_SECRET}))
        sluice(folder, home, "new", "source", "parcels", "--sample", str(sample), "--key", "id")
        suite = json.loads((folder / "expectations" / "parcels.json").read_text())
        suite["expectations"].append(HEAVIEST)
        (folder / "expectations" / "parcels.json").write_text(json.dumps(suite))
        sluice(folder, home, "up")
    try:
        made = Parcels(Pipeline(home, Stack(home)), folder)
        first = made.put("inbox/parcels/first.csv", f"{HEADER}\n1,first,1.5\n")
        assert [status for _, status in made.ended(f"inbox {first}")] == ["SUCCEEDED"]
        yield made
    finally:
        sluice(folder, home, "down")


def parcel(number: int, name: str, **fields) -> dict:
    return {"id": number, "name": name, "Weight KG": 2.5, **fields}


def test_events_for_a_source_of_csv_are_read_as_json_and_a_bad_one_costs_no_other(parcels):
    mark = f"event-{uuid.uuid4().hex[:8]}"
    bad, torn = parcel("ten", f"{mark}-bad"), parcel(1009, f"{mark}-torn", weight_kg=3)
    good = [parcel(1000 + number, f"{mark}-{number}") for number in range(7)]
    address = parcels.bring([*good[:3], bad, *good[3:], torn])
    [(run_id, status)] = parcels.ended(f"inbox {address}")
    assert status == "SUCCEEDED"
    assert parcels.names(mark) == [event["name"] for event in good]
    assert parcels.account(run_id) == (9, 7, 0, 0, 0, 2)
    assert parcels.quarantined(run_id) == {
        json.dumps(bad): ["id is 'ten', expected integer"],
        json.dumps(torn): ["two fields of the record become column weight_kg: Weight KG, weight_kg"],
    }
    [mail] = parcels.pipeline.emails(run_id)
    assert "no share of them fails this run" in " ".join(mail["message"].split())
    assert parcels.listed(address) == []


def test_a_rejected_batch_is_listed_and_is_run_again_by_what_the_list_says(parcels):
    mark = f"heavy-{uuid.uuid4().hex[:8]}"
    address = parcels.bring([parcel(2001, f"{mark}-a"), parcel(2002, f"{mark}-b", **{"Weight KG": 9000})])
    [(run_id, status)] = parcels.ended(f"inbox {address}")
    assert (status, parcels.row(run_id)["status"], parcels.names(mark)) == ("FAILED", "rejected", [])
    [one] = parcels.listed(address)
    assert (one["run_id"], one["loaded_by"]) == (run_id, None)
    assert "2 of its 2 records can be used" in one["reason"]
    [mail] = parcels.pipeline.emails(run_id)
    assert "quarantined whole" in " ".join(mail["message"].split())

    suite = parcels.folder / "expectations" / "parcels.json"
    document = json.loads(suite.read_text())
    document["expectations"].remove(HEAVIEST)
    suite.write_text(json.dumps(document))
    command = f"sluice run parcels --input {address}"
    assert f"`{command}`" in one["reason"]
    assert "status   succeeded" in parcels.sluice(*command.split()[1:])
    assert parcels.names(mark) == [f"{mark}-a", f"{mark}-b"]
    assert parcels.listed(address)[0]["loaded_by"]


def test_an_event_whose_first_run_failed_is_in_the_table_once_after_the_second(parcels):
    mark = f"patient-{uuid.uuid4().hex[:8]}"
    with hindrance(parcels.pipeline, "curated.parcels", when=f"new.name = '{mark}'"):
        address = parcels.bring([parcel(3001, mark), parcel(3002, f"{mark}-2")])
        [(run_id, status)] = parcels.ended(f"inbox {address}")
        assert (status, parcels.names(mark)) == ("FAILED", [])
        assert parcels.account(run_id)[1:] == (None, None, None, None, 0)
    for _ in range(2):
        parcels.send(parcels.notice(address))
    found = parcels.ended(f"inbox {address}", 2)
    parcels.settle()
    assert parcels.runs(f"inbox {address}") == found == [(run_id, "FAILED"), (f"{run_id}-2", "SUCCEEDED")]
    assert parcels.names(mark) == [mark, f"{mark}-2"]
    assert parcels.account(f"{run_id}-2") == (2, 2, 0, 0, 0, 0)
    ledger = "SELECT status FROM pipeline.runs WHERE input ->> 'input' = %s ORDER BY run_id"
    assert parcels.pipeline.query(ledger, address) == [("failed",), ("succeeded",)]


def test_an_object_is_read_as_what_its_name_says(parcels):
    mark = f"named-{uuid.uuid4().hex[:8]}"
    events = [parcel(4001, f"{mark}-1"), parcel(4002, f"{mark}-2"), parcel(4003, f"{mark}-3")]
    lines = "".join(json.dumps(event) + "\n" for event in events[:1])
    bodies = {"a.ndjson": lines, "b.json": json.dumps(events[1:2]), "c.json": json.dumps(events[2])}
    for name, body in bodies.items():
        address = parcels.put(f"inbox/parcels/{mark}/{name}", body)
        [(run_id, status)] = parcels.ended(f"inbox {address}")
        assert (status, parcels.account(run_id)) == ("SUCCEEDED", (1, 1, 0, 0, 0, 0)), name
    assert parcels.names(mark) == [event["name"] for event in events]


PERSON = "Ada Lovelace-Byron"
# the object's text, what is said of it, what is not
ODD = {
    "a header that lacks a column": ("id,name\n", "no column for weight_kg", None),
    "no header row": (f"1,{PERSON},2.5\n2,Blaise,3.5\n", "the header row seems to be missing", PERSON),
    "no header row, one line": (f"1,{PERSON},2.5\n", "the header row seems to be missing", PERSON),
    "another delimiter": (f"{HEADER.replace(',', ';')}\n1;{PERSON};2.5\n", "declare delimiter = ';'", PERSON),
    "a header alone": (f"{HEADER}\n", "it has no records", None),
}


def test_an_odd_csv_is_quarantined_whole_and_what_may_be_a_value_is_told_nowhere(parcels):
    mark = uuid.uuid4().hex
    addresses = {kind: parcels.put(f"inbox/parcels/{mark}/{n}.csv", ODD[kind][0]) for n, kind in enumerate(ODD)}
    for kind, (_, said, withheld) in ODD.items():
        [(run_id, status)] = parcels.ended(f"inbox {addresses[kind]}")
        assert status == "FAILED", kind
        [one] = parcels.listed(addresses[kind])
        assert said in one["reason"], kind
        [mail] = parcels.pipeline.emails(run_id)
        message = " ".join(mail["message"].split())
        assert "quarantined whole" in message, kind
        if withheld:
            chunks = parcels.pipeline.query("SELECT row_to_json(c) FROM pipeline.chunks c WHERE run_id = %s", run_id)
            logged = (parcels.pipeline.home / "logs" / "lambda.log").read_text()
            shown = parcels.sluice("runs", "show", run_id) + parcels.sluice("graph", run_id)
            for told in (message, json.dumps([parcels.row(run_id), chunks]), logged, shown, one["reason"]):
                assert withheld not in told, kind
            arn = executions.arn(parcels.pipeline.env["SLUICE_STATE_MACHINE_ARN"], run_id)
            history = parcels.pipeline.client("stepfunctions").get_paginator("get_execution_history")
            assert withheld not in json.dumps(list(history.paginate(executionArn=arn)), default=str), kind
