"""The API's routes, as Chalice registers them: made from `table.ROUTES`.

The only module beside `app.py` that knows Chalice. What a route needs is imported when it is called:
every Lambda imports this module with `app.py`.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable

from chalice import Blueprint, Response

from chalicelib import settings
from chalicelib.api import problems, table
from chalicelib.api.table import Route
from chalicelib.errors import SluiceError
from chalicelib.telemetry import logger


def blueprint(authorizer: Callable) -> Blueprint:
    """The routes; those that need a scope are guarded by `authorizer`."""
    routes = Blueprint(__name__)
    # Chalice reads the routes while it packs, with the stage's settings
    key = settings.load().api_keys == "on"
    for route in table.ROUTES:
        guard = {"authorizer": authorizer, "api_key_required": key} if route.scope else {}
        register = routes.route(route.path, methods=[route.method], content_types=[table.JSON], **guard)
        register(_view(routes, route))
    # senders of webhooks are no browsers
    for path in dict.fromkeys(route.path for route in table.ROUTES if not route.raw):
        routes.route(path, methods=["OPTIONS"])(_preflight(routes, path))
    return routes


def _view(routes: Blueprint, route: Route) -> Callable[..., Response]:
    def view(**parameters: str) -> Response:
        return _answered(routes.current_request, route, parameters)

    view.__name__, view.__doc__ = route.name, route.summary
    return view


def _preflight(routes: Blueprint, path: str) -> Callable[..., Response]:
    """Without credentials, as browsers ask: it tells nothing but who may ask."""

    def view(**parameters: str) -> Response:
        from chalicelib.api import cors

        return Response("", status_code=204, headers=cors.preflight(path, routes.current_request.headers))

    name = re.sub(r"\W+", "_", path).strip("_")
    view.__name__, view.__doc__ = f"options_{name}", "Whether pages of an origin may call this path."
    return view


def _answered(request, route: Route, parameters: dict[str, str]) -> Response:
    """What the route answers, or the problem that it raised.

    Logged by reason and caller. Headers, among them signatures and tokens, queries and bodies are not logged.
    """
    from chalicelib.api import answering, callers, cors

    identity = request.context.get("identity") or {}
    about = {"method": route.method, "route": route.path, "caller": identity.get("sourceIp")}
    # not as `run_id` and `state`: by these a run's own log is found. Not at all the id of a record: it is its key
    about |= {f"asked_{n}" if n != "source" else n: value for n, value in parameters.items() if n != "id"}
    about = {name: str(value)[:200] for name, value in about.items()}
    started = time.perf_counter()
    try:
        arrived = answering.Arrived(
            path=parameters,
            query={name: request.query_params.getlist(name) for name in request.query_params or ()},
            headers=request.headers,
            body=request.raw_body or b"",
            caller=callers.require(request.context, route.scope),
            address=_address(request.context),
        )
        response = answering.answer(route, arrived)
    except Exception as error:  # of any kind: it is the caller who is to be told that it failed
        problem = problems.of(error, _path(request))
        tell = logger.error if problem.status >= 500 else logger.warning
        # of what is refused, the message may quote what was sent
        cause = {"error": type(error).__name__, "message_of_error": _told(error)} if problem.status >= 500 else {}
        tell("request refused", status=problem.status, reason=problem.reason, **cause, **about)
        headers = {"Content-Type": problems.CONTENT_TYPE, **problem.headers, **cors.headers(request.headers)}
        return Response(json.dumps(problem.document), status_code=problem.status, headers=headers)
    seconds = round(time.perf_counter() - started, 4)
    logger.info("request served", status=response.status, seconds=seconds, **about)
    headers = {"Content-Type": response.media, **response.headers, **cors.headers(request.headers)}
    return Response(response.content, status_code=response.status, headers=headers)


def _told(error: Exception) -> str:
    """What is logged of a failure: without what our own errors quote, and of others only where they come from."""
    from chalicelib import personal

    return str(error.without_quote()) if isinstance(error, SluiceError) else personal.told(error)


def _path(request) -> str:
    """As the API declares it: API Gateway puts its stage before it, but on a domain of one's own."""
    path = request.context.get("path") or request.path
    return path.removeprefix(_before(request.context))


def _address(context: dict) -> str:
    """Where requests to the API go, by what API Gateway says of this one: it sets the domain, no caller does.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
    """
    domain = context.get("domainName")
    return f"https://{domain}{_before(context)}" if domain else ""


def _before(context: dict) -> str:
    """What API Gateway puts before the path of this request."""
    stage = f"/{context.get('stage')}"
    return stage if (context.get("path") or "").startswith(f"{stage}/") else ""
