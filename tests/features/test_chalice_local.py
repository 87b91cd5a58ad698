"""`chalice local`, in a shell with the stack's environment, answers as the stack does, JWTs of an issuer included."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
from pathlib import Path

import pytest
from http_api import call, path_of, token
from issuer_on_loopback import AUDIENCE, claims, signed

from chalicelib.api import table

ROOT = Path(__file__).parents[2]
CHALICE = (sys.executable, "-c", "import sys; from chalice.cli import main; sys.exit(main())")
ORIGIN = "https://app.example.org"


@pytest.fixture(scope="module")
def address(pipeline, issuer):
    """Of a `chalice local` on the stack's database and buckets."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        **pipeline.env,
        "PYTHONPATH": str(ROOT),
        "SLUICE_OIDC_ISSUER": issuer.url,
        "SLUICE_OIDC_AUDIENCE": AUDIENCE,
        "SLUICE_CORS_ORIGINS": ORIGIN,
    }
    command = [*CHALICE, "local", "--port", str(port), "--stage", "local", "--no-autoreload"]
    server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    found = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 60
        while True:
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                if call(found, "GET", "/health").status == 200:
                    break
            assert server.poll() is None and time.monotonic() < end, server.stdout.read().decode()
            time.sleep(0.2)
        yield found
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture(scope="module")
def bearers(pipeline, issuer):
    """By scope, a token of ours and a JWT."""
    url = pipeline.env["DATABASE_URL"]
    return {
        scope: (token(url, scope), signed(claims(issuer, scope=scope)))
        for scope in (table.READ, table.RUN, table.ADMIN)
    }


GUARDED = [pytest.param(route, id=route.name) for route in table.ROUTES if route.scope]


@pytest.mark.parametrize("route", GUARDED)
def test_a_route_asks_for_a_credential_and_its_scope(address, bearers, issuer, route):
    body = {} if route.body else None
    assert call(address, route.method, path_of(route), None, body).status == 401
    for bad in (signed(claims(issuer, exp=1)), signed(claims(issuer, aud="another")), "x"):
        assert call(address, route.method, path_of(route), bad, body).status == 403
    for scope, credentials in bearers.items():
        for credential in credentials:
            answer = call(address, route.method, path_of(route), credential, body)
            assert (answer.status in (401, 403)) == (route not in table.within(scope)), answer.text
            assert answer.status < 500, answer.text


def test_it_tells_of_a_run_that_the_stack_did_and_starts_one(address, bearers, pipeline):
    run = pipeline.run("weather", start="2024-07-01", end="2024-07-02", input="Oslo")
    for credential in bearers["read"]:
        assert call(address, "GET", f"/runs/{run.run_id}", credential).json["status"] == "succeeded"
    asked = {"source": "weather", "from": "2024-07-03", "to": "2024-07-04", "input": "Oslo"}
    key = [("Idempotency-Key", "the-same")]
    started = [call(address, "POST", "/runs", bearers["run"][1], asked, key) for _ in range(2)]
    assert [answer.status for answer in started] == [202, 202]
    assert [answer.json["new"] for answer in started] == [True, False]
    assert pipeline.wait(started[0].json["execution"]).status == "SUCCEEDED"


def test_pages_of_the_origins_that_are_set_may_call_it(address, bearers):
    asked = call(address, "OPTIONS", "/runs", headers=[("Origin", ORIGIN)])
    assert (asked.status, asked.headers["Access-Control-Allow-Origin"]) == (204, ORIGIN)
    answer = call(address, "GET", "/runs", bearers["read"][0], headers=[("Origin", ORIGIN)])
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    for path in ("/runs", "/runs/none"):
        other = call(address, "GET", path, bearers["read"][0], headers=[("Origin", "https://evil.example")])
        assert "Access-Control-Allow-Origin" not in other.headers
