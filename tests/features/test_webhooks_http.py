"""Webhooks and POST /runs over HTTP: refusals, rows in the table once, and nothing lost while Postgres is down."""

import json
import os
import signal
import time
import urllib.error
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import WEBHOOK_SECRET

from chalicelib.api import tokens
from chalicelib.warehouse import connection
from chalicelib.webhooks import signature
from chalicelib.webhooks.intake import LARGEST

SOURCE = "sensors"


def post(pipeline, path, body, headers=()):
    """(status, JSON) of what the API answers."""
    request = urllib.request.Request(
        pipeline.env["SLUICE_API_URL"] + path, body, {"Content-Type": "application/json", **dict(headers)}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def signed(body, delivery=None, timestamp=None, secret=WEBHOOK_SECRET):
    delivery, timestamp = delivery or uuid.uuid4().hex, str(int(timestamp or time.time()))
    return {
        signature.TIMESTAMP: timestamp,
        signature.DELIVERY: delivery,
        signature.SIGNATURE: signature.sign(secret, timestamp, delivery, body),
    }


def readings(sensor, count=1):
    return json.dumps(
        [
            {
                "sensor": sensor,
                "measured_at": f"2026-11-21T{n // 60:02d}:{n % 60:02d}:00Z",
                "temperature": 20.5,
                "humidity": 40.0,
                "pressure": 1010.0,
                "battery": 90.0,
            }
            for n in range(count)
        ]
    ).encode()


def rows(pipeline, prefix):
    try:
        found = pipeline.query("SELECT sensor FROM curated.sensors WHERE sensor LIKE %s", f"{prefix}%")
    except Exception:  # no run has made the table yet, or Postgres is starting
        return []
    return [sensor for (sensor,) in found]


def kept(pipeline):
    """How many deliveries are kept; S3 lists a thousand at a time."""
    pages = pipeline.client("s3").get_paginator("list_objects_v2")
    listed = pages.paginate(Bucket=pipeline.env["SLUICE_BUCKET"], Prefix="webhooks/")
    return sum(page["KeyCount"] for page in listed)


def eventually(look, wanted, seconds=240):
    deadline = time.monotonic() + seconds
    while (found := look()) != wanted and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


@pytest.fixture(scope="module")
def token(pipeline):
    """token(scope): a token that may do that."""

    def made(*scopes):
        with connection.transaction(pipeline.env["DATABASE_URL"]) as opened:
            return tokens.create(opened, f"test-{uuid.uuid4().hex[:8]}", scopes)

    return made


# --- webhooks --------------------------------------------------------------------------------


def test_a_signed_event_is_in_the_table_once_also_when_it_is_sent_again(pipeline):
    sensor = f"once-{uuid.uuid4().hex[:8]}"
    body, delivery = readings(sensor), uuid.uuid4().hex
    headers = signed(body, delivery)
    assert post(pipeline, f"/webhooks/{SOURCE}", body, headers.items()) == (202, {"delivery": delivery})
    status, problem = post(pipeline, f"/webhooks/{SOURCE}", body, headers.items())
    assert (status, problem["reason"]) == (409, "replayed")
    assert eventually(lambda: rows(pipeline, sensor), [sensor]) == [sensor]


def test_what_is_refused_says_why_is_kept_nowhere_and_leaves_no_secret_in_the_log(pipeline):
    body, mark = readings("refused"), f"mark-{uuid.uuid4().hex}"
    marked = json.dumps({"sensor": mark}).encode()
    forged = signed(marked, secret="somebody-elses-secret")
    large = b'{"x": "' + b"a" * LARGEST + b'"}'
    latin = '{"sensor": "caf\xe9"}'.encode("latin-1")
    sent = {
        (401, "forged"): (SOURCE, marked, forged),
        (401, "stale"): (SOURCE, body, signed(body, timestamp=time.time() - 301)),
        (401, "not signed"): (SOURCE, body, {}),
        (413, "too large"): (SOURCE, large, signed(large)),
        (400, "not events"): (SOURCE, b"[1]", signed(b"[1]")),
        (400, "not UTF-8"): (SOURCE, latin, signed(latin)),
        (404, "no such webhook"): (f"no_{uuid.uuid4().hex[:8]}", body, signed(body)),
    }
    before = kept(pipeline)
    for expected, (source, content, headers) in sent.items():
        status, problem = post(pipeline, f"/webhooks/{source}", content, headers.items())
        assert (status, problem["reason"], problem["status"]) == (*expected, expected[0])
    # a source that takes no files, and one without a secret: as one that there is not
    for source in ("weather", "files"):
        assert post(pipeline, f"/webhooks/{source}", body, signed(body).items())[0] == 404
    assert kept(pipeline) == before
    log = (pipeline.home / "logs" / "lambda.log").read_text()
    assert '"reason":"forged"' in log
    for secret in (WEBHOOK_SECRET, mark, forged[signature.SIGNATURE]):
        assert secret not in log


def test_events_of_many_senders_all_arrive_once_though_postgres_goes_down_meanwhile(own_stack):
    run = uuid.uuid4().hex[:8]
    wanted = sorted(f"{run}-{n:03d}" for n in range(500))
    with own_stack(tokens=json.dumps({f"webhook:{SOURCE}": WEBHOOK_SECRET})) as pipeline:

        def send(sensor):
            body = readings(sensor)
            headers = signed(body).items()
            for _ in range(10):  # as senders do: until it is taken, or was taken before
                status, _ = post(pipeline, f"/webhooks/{SOURCE}", body, headers)
                if status in (202, 409):
                    return status
            return status

        with ThreadPoolExecutor(8) as senders:
            answers = [senders.submit(send, sensor) for sensor in wanted]
            answers[100].result()
            os.kill(pipeline.stack.info().postgres_pid, signal.SIGKILL)
            assert {answer.result() for answer in answers} <= {202, 409}
        assert eventually(lambda: sorted(rows(pipeline, run)), wanted) == wanted


# --- runs ------------------------------------------------------------------------------------

WEEK = json.dumps({"source": "weather", "from": "2014-03-01", "to": "2014-03-03", "input": "Seattle"}).encode()


def bearer(token, **more):
    return {"Authorization": f"Bearer {token}", **more}.items()


def test_a_run_is_started_once_for_a_key(pipeline, token):
    mine, key = token("run"), uuid.uuid4().hex
    status, first = post(pipeline, "/runs", WEEK, bearer(mine, **{"Idempotency-Key": key}))
    assert (status, first["new"]) == (202, True)
    assert pipeline.wait(first["execution"]).status == "SUCCEEDED"
    again = post(pipeline, "/runs", WEEK, bearer(mine, **{"Idempotency-Key": key}))
    assert again == (202, {**first, "new": False})
    # another caller's key is another key
    status, other = post(pipeline, "/runs", WEEK, bearer(token("admin"), **{"Idempotency-Key": key}))
    assert (status, other["new"]) == (202, True)
    assert other["run_id"] != first["run_id"]
    pipeline.wait(other["execution"])


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"source": "weather", "colour": "red"}', 422),
        (b'{"source": "weather", "from": "yesterday"}', 422),
        (b'{"source": "weather", "from": "20240131"}', 422),
        (b'{"source": "weather", "trigger": "somebody"}', 422),
        (b'{"source": "weather", "live": true}', 422),
        (b'{"source": "weather", "from": "2024-02-02", "to": "2024-02-01"}', 422),
        (b'{"source": "posts", "from": "2024-01-01", "to": "2024-01-02"}', 422),
        (b'{"source": "no_such_source"}', 404),
    ],
)
def test_a_wrong_request_for_a_run_is_told(pipeline, token, body, status):
    answered, problem = post(pipeline, "/runs", body, bearer(token("run")))
    assert (answered, problem["status"]) == (status, status)


def test_without_a_token_that_may_nobody_starts_a_run(pipeline, token):
    assert post(pipeline, "/runs", WEEK)[0] == 401
    assert post(pipeline, "/runs", WEEK, bearer("sluice_" + "x" * 43))[0] == 403
    assert post(pipeline, "/runs", WEEK, bearer(token("read")))[0] == 403
    revoked = token("run")
    with connection.transaction(pipeline.env["DATABASE_URL"]) as opened:
        [name] = [each["name"] for each in tokens.existing(opened)][:1]
        tokens.revoke(opened, name)
    assert post(pipeline, "/runs", WEEK, bearer(revoked))[0] == 403
