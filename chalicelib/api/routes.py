"""The API's routes, as Chalice registers them: each takes a request apart, calls one function and answers.

The only module beside `app.py` that knows Chalice. What a route needs is imported when it is called:
every Lambda imports this module with `app.py`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from chalice import Blueprint, Response

from chalicelib import settings
from chalicelib.api import problems
from chalicelib.telemetry import logger

JSON = ["application/json"]


def blueprint(authorizer: Callable) -> Blueprint:
    """The routes; those that need a bearer token are guarded by `authorizer`."""
    routes = Blueprint(__name__)

    @routes.route("/health")
    def health():
        """Whether the API answers; it asks nothing else whether that does."""
        return {"status": "ok", "stage": settings.current().stage}

    @routes.route("/webhooks/{source}", methods=["POST"], content_types=JSON)
    def post_webhook(source):
        """Keep what a sender signed: 202 with the delivery's id, for a run that is to come."""
        from chalicelib.lake.store import Lake, impatient_client
        from chalicelib.webhooks.intake import take_in

        def act(request):
            lake = Lake(settings.current().bucket, impatient_client())
            delivery = take_in(lake, source, request.headers, request.raw_body or b"", time.time())
            return 202, {"delivery": delivery}

        return _answered(routes.current_request, act, source=source)

    @routes.route("/runs", methods=["POST"], content_types=JSON, authorizer=authorizer)
    def post_run():
        """Start a run: 202 with its id, the execution's ARN, and whether it is new."""
        from chalicelib.api import access, runs

        def act(request):
            who = access.require(request.context, "run")
            return 202, runs.start(request.raw_body or b"", request.headers.get(runs.IDEMPOTENCY_KEY), who.name)

        return _answered(routes.current_request, act)

    return routes


def _answered(request, act: Callable, **about) -> Response:
    """What `act(request)` returns, (status, JSON value), or the problem that it raised.

    Logged by reason and caller. Headers, among them signatures and tokens, and bodies are not logged.
    """
    identity = request.context.get("identity") or {}
    about |= {"method": request.method, "route": request.path, "caller": identity.get("sourceIp")}
    about = {name: str(value)[:200] for name, value in about.items()}
    started = time.perf_counter()
    try:
        status, document = act(request)
    except Exception as error:  # of any kind: it is the caller who is to be told that it failed
        problem = problems.of(error, request.context.get("path") or request.path)
        tell = logger.error if problem.status >= 500 else logger.warning
        # of what is refused, the message may quote what was sent
        cause = {"error": type(error).__name__, "message_of_error": str(error)} if problem.status >= 500 else {}
        tell("request refused", status=problem.status, reason=problem.reason, **cause, **about)
        headers = {"Content-Type": problems.CONTENT_TYPE, **problem.headers}
        return Response(json.dumps(problem.document), status_code=problem.status, headers=headers)
    logger.info("request served", status=status, seconds=round(time.perf_counter() - started, 4), **about)
    return Response(document, status_code=status)
