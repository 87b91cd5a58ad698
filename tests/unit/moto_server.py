"""moto in a process of its own, running state machines whose Lambdas are told what to do by their names.

`python moto_server.py` prints its port and serves until its standard input ends, so that it cannot
outlive the tests. A function answers with its payload, and by its name: `fails` fails with
DataError, `fails-first` fails once per run with SourceUnavailable, `fails-on-1` fails on the
payload {"i": 1}, `hangs` answers after two seconds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager


@contextmanager
def running():
    """The endpoint of a new server, ended on leaving."""
    process = subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={
            **os.environ,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        },
    )
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


class _Lambdas:
    """A WSGI application that answers invokes, and leaves everything else to moto."""

    def __init__(self, moto):
        self._moto = moto
        self._calls: Counter = Counter()

    def __call__(self, environ, start_response):
        path = environ["PATH_INFO"]
        if not path.startswith("/2015-03-31/functions/"):
            return self._moto(environ, start_response)
        payload = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        name = path.split("/")[3].split(":")[-1]
        call = (name, json.dumps(payload))
        self._calls[call] += 1
        headers = [("Content-Type", "application/json")]
        error = None
        if name == "hangs":
            time.sleep(2)
        elif name == "fails" or (name == "fails-on-1" and payload.get("i") == 1):
            error = "DataError"
        elif name == "fails-first" and self._calls[call] == 1:
            error = "SourceUnavailable"
        if error:
            headers.append(("X-Amz-Function-Error", "Unhandled"))
            payload = {"errorType": error, "errorMessage": f"{name} was told to"}
        start_response("200 OK", headers)
        return [json.dumps(payload).encode()]


def _serve() -> None:
    from moto.core.config import default_user_config
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    default_user_config["stepfunctions"] = {"execute_state_machine": True}
    application = _Lambdas(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True)
    os.environ["MOTO_PORT"] = str(server.port)  # where the interpreter looks for Lambda
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.port, flush=True)
    sys.stdin.read()
    os._exit(0)  # not waiting for what hangs


if __name__ == "__main__":
    _serve()
