"""The stack's HTTP endpoint: AWS' APIs by moto, Lambda by ourselves, and the pages that alerts link to.

POST /2015-03-31/functions/<name or ARN>/invocations    Lambda's Invoke
GET  /runs/<run>/report.html, /runs/<run>/graph.svg     what the links in alerts show
…    /restapis/<id>/<stage>/_user_request_/<path>        a request to an API that was deployed here
GET  /_sluice/health                                    {"status": "ok", "preloaded": …}
GET  /_sluice/emails                                    what SNS sent by email, oldest first
GET  /_sluice/runtime, DELETE /_sluice/runtime          use of the functions since the last DELETE
…    /_sluice/faults                                    faults on demand (see `local.faults`)
GET  /_sluice/clock, POST /_sluice/clock                the schedules' time, and how to move it (see `local.schedules`)
everything else                                         moto
"""

from __future__ import annotations

import datetime as dt
import io
import json
import logging
import re
import threading
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import unquote

from werkzeug.wrappers import Request, Response

from chalicelib.errors import NotFound
from local import corrections_of_chalice, objects
from local.api_gateway import ApiGateway, raw_path
from local.deployed import Lambdas, Throttled
from local.faults import Faults, Unheard
from local.runtime import NoWorker, RequestTooLarge, Result, UnknownFunction

if TYPE_CHECKING:  # it provisions
    from local.schedules import Schedules

LOG = logging.getLogger("local.server")

# seconds before a function that was invoked asynchronously is tried again; AWS waits one minute, then two
_AGAIN_AFTER = (1, 2)

_INVOKE = re.compile(r"/2015-03-31/functions/(?P<function>[^/]+)/invocations")
_PAGE = re.compile(r"/runs/(?P<run>[^/]+)/(?P<page>report\.html|graph\.svg)")


_REQUEST = re.compile(r"/restapis/(?P<api>[^/]+)/(?P<stage>[^/]+)/_user_request_(?P<path>/.*)")


class Gateway:
    """A WSGI application in front of `aws`; `pages` maps "report.html" and "graph.svg" to what renders a run's."""

    def __init__(
        self,
        aws: Callable,
        lambdas: Lambdas,
        pages: dict[str, Callable[[str], str | bytes | None]],
        emails: Callable[[], list[dict]],
        schedules: Callable[[], Schedules | None] = lambda: None,
        api_gateway: ApiGateway | None = None,
        faults: Faults | None = None,
    ):
        self._faults = faults or Faults()
        aws = self._faults.in_front_of(aws)
        self._aws, self._lambdas, self._pages, self._emails = aws, lambdas, pages, emails
        self._schedules, self._api_gateway = schedules, api_gateway or ApiGateway(lambdas.invoke)

    def __call__(self, environ, start_response):
        path = environ["PATH_INFO"]
        if found := _INVOKE.fullmatch(path):
            response = self._invoke(Request(environ), unquote(found["function"]))
        elif found := _REQUEST.fullmatch(raw_path(environ)):
            response = self._request(Request(environ), found["api"], found["stage"], found["path"])
        elif path.startswith("/_sluice/"):
            response = self._about(Request(environ), path.removeprefix("/_sluice/"))
        elif "HTTP_AUTHORIZATION" not in environ and (found := _PAGE.fullmatch(path)):
            response = self._page(found["page"], unquote(found["run"]))
        else:
            return self._by_aws(environ, start_response)
        return response(environ, start_response)

    def _by_aws(self, environ: dict, start_response):
        """By moto, with the body in one piece: it keeps it in memory anyway, and werkzeug takes it by 64 KB, twice.

        The body of a large object goes into a file as it comes, which becomes the object's: a PUT of 13 MB takes
        10 to 15 ms of CPU, read whole and written then it took 22 to 36.
        """
        length = int(environ.get("CONTENT_LENGTH") or 0)
        if not length:
            return self._aws(environ, start_response)
        environ["wsgi.input_terminated"] = True
        if not _puts_large_object(environ, length):
            environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(length))
            return self._aws(environ, start_response)
        environ["wsgi.input"] = received = objects.Received.read_from(environ["wsgi.input"], length)
        try:
            return self._aws(environ, start_response)
        finally:
            received.discard()

    def _invoke(self, request: Request, function: str) -> Response:
        """https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html"""
        payload = request.get_data()
        if qualifier := request.args.get("Qualifier"):
            function = f"{function}:{qualifier}"
        try:
            json.loads(payload or b"{}")
        except ValueError as error:
            return _refusal(400, "InvalidRequestContentException", f"Could not parse request body into json: {error}")
        kind = request.headers.get("X-Amz-Invocation-Type", "RequestResponse")
        if kind == "DryRun":
            return Response(status=204)
        if kind == "Event":
            threading.Thread(target=self._invoke_later, args=(function, payload), daemon=True).start()
            return Response(status=202)
        try:
            result: Result = self._lambdas.invoke(function, payload)
        except UnknownFunction as error:
            return _refusal(404, "ResourceNotFoundException", str(error))
        except RequestTooLarge as error:
            return _refusal(413, "RequestTooLargeException", str(error))
        except Throttled as error:
            return _refusal(429, "TooManyRequestsException", str(error))
        except (Unheard, NoWorker) as error:
            return _refusal(500, "ServiceException", str(error))
        response = Response(result.payload, content_type="application/json")
        response.headers["X-Amzn-RequestId"] = result.request_id
        response.headers["X-Amz-Executed-Version"] = "$LATEST"
        if result.error:
            response.headers["X-Amz-Function-Error"] = result.error
        return response

    def _invoke_later(self, function: str, payload: bytes) -> None:
        """https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html: two more tries."""
        for pause in (*_AGAIN_AFTER, None):
            try:
                if not self._lambdas.invoke(function, payload).error:
                    return
            except (UnknownFunction, RequestTooLarge) as error:
                LOG.warning("%s was not invoked: %s", function, error)
                return
            except (Throttled, Unheard, NoWorker):
                pass
            if pause is not None:
                time.sleep(pause)
        LOG.warning("%s failed %d times on an event, which is given up", function, len(_AGAIN_AFTER) + 1)

    def _request(self, request: Request, api_id: str, stage: str, path: str) -> Response:
        api = corrections_of_chalice.deployed_api(api_id, stage)
        if api is None:
            return _json({"message": "Forbidden"}, 403)
        return self._api_gateway.answer(api, request, path)

    def _about(self, request: Request, what: str) -> Response:
        if what == "health":
            return _json({"status": "ok", "preloaded": self._lambdas.preloaded, "workers": self._lambdas.workers})
        if what == "emails":
            return _json(self._emails())
        if what == "runtime":
            usage = self._lambdas.usage()
            if request.method == "DELETE":
                self._lambdas.reset_usage()
            return _json(usage)
        if what == "faults":
            return self._about_faults(request)
        if what == "clock" and (schedules := self._schedules()):
            return _clock(schedules, request)
        return _json({"error": f"nothing is called {what!r} here"}, 404)

    def _about_faults(self, request: Request) -> Response:
        if request.method == "DELETE":
            self._faults.disarm(request.args.get("prefix", ""))
        elif request.method == "POST":
            try:
                self._faults.arm(json.loads(request.get_data()))
            except (TypeError, ValueError) as error:
                return _json({"error": f"these are no faults: {error}"}, 400)
        return _json(self._faults.told())

    def _page(self, page: str, run_id: str) -> Response:
        content = self._pages[page](run_id)
        if content is None:
            return Response(f"There is no {page} of run {run_id}.\n", 404, content_type="text/plain; charset=utf-8")
        kind = "image/svg+xml" if page.endswith(".svg") else "text/html; charset=utf-8"
        return Response(content, content_type=kind)


def _clock(schedules: Schedules, request: Request) -> Response:
    """A POST has {"to": a time of ISO 8601, or null for the real one}, and {"schedules": [names]} to fire no others."""
    fired = []
    if request.method == "POST":
        try:
            wanted = json.loads(request.get_data())
            if not isinstance(wanted, dict) or "to" not in wanted:
                raise ValueError("`to` is missing")
            if unknown := sorted(set(wanted) - {"to", "schedules"}):
                raise ValueError(f"{', '.join(unknown)} is unknown, `to` and `schedules` are known")
            to = wanted["to"] and dt.datetime.fromisoformat(wanted["to"])
            if to and to.tzinfo is None:
                raise ValueError(f"{wanted['to']} has no time zone; end it with Z")
            fired = schedules.move(to, wanted.get("schedules"))
        except NotFound as error:
            return _json({"error": str(error)}, 404)
        except (TypeError, ValueError) as error:
            return _json({"error": f'the clock is moved by {{"to": "2026-03-08T12:00:00Z"}}: {error}'}, 400)
    return _json(
        {
            "now": schedules.clock.now().isoformat(),
            "ahead_seconds": round(schedules.clock.ahead, 3),
            "ticking": schedules.ticking,
            "fired": [{"schedule": each.schedule, "scheduled_time": each.scheduled.isoformat()} for each in fired],
            "next": {name: due and due.isoformat() for name, due in schedules.upcoming().items()},
        }
    )


def _puts_large_object(environ: dict, length: int) -> bool:
    """Whether the body is an object's, or a part's, byte for byte: what is sent in signed chunks moto must read."""
    return (
        environ["REQUEST_METHOD"] == "PUT"
        and length > objects.ETAG_BYTES
        and "/s3/aws4_request" in environ.get("HTTP_AUTHORIZATION", "")
        and "HTTP_X_AMZ_DECODED_CONTENT_LENGTH" not in environ
    )


def _json(document, status: int = 200) -> Response:
    return Response(json.dumps(document), status, content_type="application/json")


def _refusal(status: int, kind: str, message: str) -> Response:
    """An error in the REST-JSON protocol's form, as boto3 reads it."""
    response = _json({"Type": "User", "message": message, "Message": message}, status)
    response.headers["X-Amzn-ErrorType"] = kind
    response.headers["X-Amzn-RequestId"] = str(uuid.uuid4())
    return response
