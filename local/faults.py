"""Faults on demand in AWS: what its services may do to a run (what a source may do: `local.sample_faults`).

`POST /_sluice/faults` with a list of faults arms them, `DELETE /_sluice/faults?prefix=…` takes those away whose
name begins so, `GET` tells how often each was met and how often it struck. A stack without any behaves as ever.

A fault names the calls that it waits for: their `service`, `texts` that they contain, all of them (of S3 in the
method, path and query, of SNS, SQS and Step Functions in the body, of Lambda in the payload, of ECS in the overrides)
and, of Lambda, the `function`. The first `after` of them pass, the next `times` are struck. ACTIONS says what each of
them can do.
"""

from __future__ import annotations

import datetime as dt
import io
import json
import re
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass

from werkzeug.wrappers import Request, Response


class Unheard(RuntimeError):
    """Lambda failed to pass on what a function answers."""


# what a fault does, by service
ACTIONS = {
    "s3": {
        "error": "500 InternalError",
        "slow-down": "503 SlowDown",
        "missing": "404 NoSuchKey",
        "stale": "what the object was before it was last written, 404 where it was not",
        "unheard": "done, and answered with 500",
        "cut": "half of the body, and the end of the connection",
        "kill": "done, and the workers that are busy with `worker` are killed",
    },
    "sns": {"error": "500 InternalFailure", "unheard": "done, and answered with 500"},
    "sqs": {"error": "500 InternalFailure", "unheard": "done, and answered with 500"},
    "states": {"error": "500 InternalFailure", "unheard": "done, and answered with 500"},
    "ecs": {
        "error": "RunTask fails with ServerException",
        "kill": "the task is killed, `seconds` after it began",
        "memory": "the task has 1 MB",
    },
    "lambda": {
        "kill": "the worker is killed, `seconds` after it began",
        "kill-after": "the worker is killed when all is done, before it answers",
        "timeout": "the function has `seconds`",
        "memory": "the function has 1 MB",
        "throttle": "429 TooManyRequestsException",
        "unheard": "500 ServiceException at once, and done all the same, `seconds` later",
        "clock": "the state machine says that it is so many `seconds` later, or earlier",
    },
}

_SERVICE = re.compile(r"/(s3|sns|sqs|states)/aws4_request")


@dataclass
class Fault:
    """One fault; `met` and `struck` count the calls that it waits for, and those it did something to."""

    name: str
    service: str
    action: str
    texts: list[str]
    function: str = ""
    worker: str = ""
    after: int = 0
    times: int = 1
    seconds: float = 0.0
    met: int = 0
    struck: int = 0

    def __post_init__(self):
        if self.action not in ACTIONS.get(self.service, {}):
            raise ValueError(f"{self.service} cannot {self.action}, it can {', '.join(ACTIONS.get(self.service, {}))}")


class Faults:
    """Those that are armed. Threads of the server ask for the one that a call meets."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._armed: dict[str, Fault] = {}
        self._before: dict[str, Response] = {}  # answers to GETs of objects that were written over since, by path
        # kills whoever is busy with an invocation that contains a text; the runtime's
        self.kill: Callable[[str], object] = lambda text: None

    def arm(self, faults: list[dict]) -> None:
        """Raises TypeError or ValueError for what is none."""
        made = [Fault(**fault) for fault in faults]
        with self._lock:
            self._armed |= {fault.name: fault for fault in made}

    def disarm(self, prefix: str) -> None:
        with self._lock:
            self._armed = {name: fault for name, fault in self._armed.items() if not name.startswith(prefix)}
            if not self._armed:
                self._before.clear()

    def told(self) -> list[dict]:
        with self._lock:
            return [asdict(fault) for fault in self._armed.values()]

    def met(self, service: str, text: str, function: str = "") -> Fault | None:
        """The fault that a call is struck by, which is counted; the first one where it is several."""
        if not self._armed:
            return None
        found = None
        with self._lock:
            for fault in self._armed.values():
                if fault.service != service or fault.function != function or any(t not in text for t in fault.texts):
                    continue
                fault.met += 1
                if found is None and fault.after < fault.met <= fault.after + fault.times:
                    fault.struck += 1
                    found = fault
        return found

    def in_front_of(self, app: Callable) -> Callable:
        """`app`, AWS' APIs as a WSGI application, with the faults of S3, SNS, SQS and Step Functions."""

        def faulty(environ, start_response):
            service = _SERVICE.search(environ.get("HTTP_AUTHORIZATION", "")) if self._armed else None
            if service is None:
                return app(environ, start_response)
            request = Request(environ)
            if service[1] != "s3":
                body = request.get_data()
                environ["wsgi.input"] = io.BytesIO(body)
                fault = self.met(service[1], body.decode(errors="replace"))
                return _of_messages(fault, environ, app)(environ, start_response)
            self._remember(request, app)
            called = f"{request.method} {request.path}?{request.query_string.decode()}"
            return self._of_s3(self.met("s3", called), request, app)(environ, start_response)

        return faulty

    def _remember(self, request: Request, app: Callable) -> None:
        """What an object is before it is written over, where a fault may ask for that."""
        if request.method != "PUT" or not any(fault.action == "stale" for fault in self._armed.values()):
            return
        asked = {**request.environ, "REQUEST_METHOD": "GET", "CONTENT_LENGTH": "0", "wsgi.input": io.BytesIO()}
        self._before[request.path] = Response.from_app(app, asked, buffered=True)

    def _of_s3(self, fault: Fault | None, request: Request, app: Callable) -> Callable:
        environ = request.environ
        match fault and fault.action:
            case None:
                return app
            case "error":
                return _s3_error(500, "InternalError")
            case "slow-down":
                return _s3_error(503, "SlowDown")
            case "missing":
                return _s3_error(404, "NoSuchKey")
            case "stale":
                return self._before.get(request.path) or _s3_error(404, "NoSuchKey")
        answer = Response.from_app(app, environ, buffered=True)
        if fault.action == "unheard":
            return _s3_error(500, "InternalError")
        if fault.action == "cut":
            answer.response = [answer.data[: len(answer.data) // 2]]
        else:
            self.kill(fault.worker)
        return answer


def _of_messages(fault: Fault | None, environ: dict, app: Callable) -> Callable:
    if fault is None:
        return app
    if fault.action == "unheard":
        Response.from_app(app, environ, buffered=True)
    if "HTTP_X_AMZ_TARGET" in environ:
        return Response('{"__type": "InternalFailure", "message": "a fault"}', 500, content_type="application/json")
    text = (
        "<ErrorResponse><Error><Type>Receiver</Type><Code>InternalFailure</Code><Message>a fault</Message></Error>"
        "<RequestId>0</RequestId></ErrorResponse>"
    )
    return Response(text, 500, content_type="text/xml")


def _s3_error(status: int, code: str) -> Response:
    text = f"<Error><Code>{code}</Code><Message>a fault</Message></Error>"
    return Response(text, status, content_type="application/xml")


def with_clock(payload: bytes, seconds: float) -> bytes:
    """An invocation's payload as the state machine would have made it at another time."""
    document = json.loads(payload)
    started = dt.datetime.fromisoformat(document["started_at"]) + dt.timedelta(seconds=seconds)
    return json.dumps({**document, "started_at": started.isoformat()}).encode()
