"""The sensors' schedule invokes the simulator, what it writes lands in the inbox, and that is a run: once."""

import datetime as dt
import json
import uuid

from chalicelib import simulation
from chalicelib.lake.inbox_object import InboxObject
from chalicelib.triggers.inbox import trigger
from tests.features.test_triggers_by_hand import begun, executions_of


def written(pipeline, at):
    said = pipeline.sluice("trigger", "schedule", "sensors", "--at", at).stdout
    return json.loads(said.partition("answer   ")[2].splitlines()[0])


def test_a_schedule_that_fires_twice_leaves_its_readings_in_the_table_once(pipeline):
    due = dt.datetime(2027, 2, 1, 6, 5, tzinfo=dt.UTC)
    assert written(pipeline, f"{due:%Y-%m-%dT%H:%M}")["written"] is True
    again = written(pipeline, f"{due:%Y-%m-%dT%H:%M}")
    assert again["written"] is False
    s3, bucket = pipeline.client("s3"), pipeline.env["SLUICE_BUCKET"]
    about = s3.head_object(Bucket=bucket, Key=again["key"])
    version = about.get("VersionId") or about["ETag"].strip('"')
    name = trigger(InboxObject(bucket, again["key"], version, about["ContentLength"])).name
    run = pipeline.wait(begun(pipeline, name))
    assert run.status == "SUCCEEDED"
    expected = {(r["sensor"], r["measured_at"]): r for r in simulation.readings(due - dt.timedelta(minutes=5), 5)}
    assert run.row["fetched"] == again["readings"]
    found = pipeline.query(
        'SELECT sensor, to_char(measured_at, \'YYYY-MM-DD"T"HH24:MI:SS"Z"\'), temperature, humidity, pressure'
        " FROM curated.sensors WHERE _run_id = %s",
        run.run_id,
    )
    assert {row[:2]: row[2:] for row in found} == {
        key: (r["temperature"], r["humidity"], r["pressure"]) for key, r in expected.items()
    }
    assert len(found) == len(expected)
    # whatever was sent before this message was dealt with before it: the second firing began nothing
    marker = pipeline.sluice("trigger", "queue", "posts", "--input", "post", "--id", uuid.uuid4().hex, "--wait")
    assert "succeeded" in marker.stdout
    assert executions_of(pipeline, name) == 1
