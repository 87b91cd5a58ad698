"""The API's routes, each declared once, as data.

Chalice's routes (`routes`), the authorizer's policy (`access`), the OpenAPI document (`openapi`), the rights
that tests/unit/test_policies.py wants, and the tests that ask every route without a credential or with another
one's are all made from `ROUTES`.

How a route is added:

1. Write a module of `chalicelib/api` named after the resource, or take the one that there is. In it, pydantic
   models made of those in `models`: one of the parameters, with a field per `{name}` of the path and per query
   parameter; one of the JSON body, if any; one of the answer. And the handler, a function of one `answering.Request`
   that returns the answer: an instance of that model or what it validates. It raises errors of ours; `problems` says
   which status they are. What is read from Postgres is read in `reader.transaction()` of `warehouse/reader.py`.
2. Add a `Route` below. Models and handler are named, not imported: every Lambda imports this module, the API's own
   alone import what stands behind it, when the route is called. `problems` are the statuses of the handler's own errors
   (404, 409, …); those that any route may answer are added by themselves.
3. Lists are read page by page: `places` makes and reads the parameter `page` and the link `next`.
4. Describe the route in docs/api.md. If the handler calls AWS, test_policies names the line that
   statemachine/policies/api_handler.json lacks.

Nothing else: the tests of every route (tests/unit/test_route_table.py, tests/features/test_api_access.py,
tests/features/test_api_fuzzed.py) read this table.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

JSON = "application/json"
HTML = "text/html"
SVG = "image/svg+xml"

READ, RUN, ADMIN = "read", "run", "admin"  # scopes: what a token may be allowed


@dataclass(frozen=True)
class Route:
    """A method of a path; `handler` and the models are import paths.

    `scope` is what a token needs; None: the handler itself says who may call it. `status` is that of success,
    `media` are the content types of its answer. A `raw` route reads path, headers and body itself, so that its
    models only describe them.
    """

    method: str
    path: str
    scope: str | None
    summary: str
    handler: str
    answer: str | None = None
    parameters: str | None = None
    headers: str | None = None
    body: str | None = None
    status: int = 200
    media: tuple[str, ...] = (JSON,)
    problems: tuple[int, ...] = ()
    raw: bool = False

    @property
    def name(self) -> str:
        """Of Chalice's view and the OpenAPI operation: `get_runs_id_report`."""
        words = self.path.replace("{", "").replace("}", "").replace(".", "/").strip("/").split("/")
        return "_".join([self.method.lower(), *words])

    @property
    def path_parameters(self) -> tuple[str, ...]:
        return tuple(part[1:-1] for part in self.path.split("/") if part.startswith("{"))


_API = "chalicelib.api"

ROUTES = (
    Route(
        "GET",
        "/health",
        None,
        "Whether the API answers; it asks nothing else whether that does.",
        f"{_API}.health.health",
        answer=f"{_API}.health.Health",
    ),
    Route(
        "GET",
        "/openapi.json",
        READ,
        "This description, as OpenAPI 3.1.",
        f"{_API}.openapi.describe",
        answer=f"{_API}.openapi.Document",
    ),
    Route("GET", "/docs", READ, "The same as a page.", f"{_API}.page.show", media=(HTML,)),
    Route(
        "POST",
        "/webhooks/{source}",
        None,
        "Keep what a sender signed, for a run that is to come.",
        f"{_API}.webhooks.take_in",
        parameters=f"{_API}.webhooks.WebhookPath",
        headers=f"{_API}.webhooks.WebhookHeaders",
        body=f"{_API}.webhooks.Events",
        answer=f"{_API}.webhooks.Delivery",
        status=202,
        problems=(400, 401, 404, 409, 413),
        raw=True,
    ),
    Route(
        "GET",
        "/sources",
        READ,
        "Every declared source, with its columns, its cursor and its last run.",
        f"{_API}.sources.listed",
        answer=f"{_API}.sources.Sources",
    ),
    Route(
        "GET",
        "/runs",
        READ,
        "The runs that there were, newest first, page by page.",
        f"{_API}.runs.listed",
        parameters=f"{_API}.runs.RunsQuery",
        answer=f"{_API}.runs.Runs",
        problems=(404,),
    ),
    Route(
        "GET",
        "/runs/{run_id}",
        READ,
        "One run: its row account, states, chunks, quality results, and why rows were quarantined.",
        f"{_API}.run.one",
        parameters=f"{_API}.run.RunPath",
        answer=f"{_API}.run.RunDetails",
        problems=(404,),
    ),
    Route(
        "GET",
        "/runs/{run_id}/states/{state}",
        READ,
        "One state of a run: what it was given, what it said, raised and logged.",
        f"{_API}.state.one",
        parameters=f"{_API}.state.StatePath",
        answer=f"{_API}.state.StateDetails",
        problems=(404,),
    ),
    Route(
        "GET",
        "/runs/{run_id}/graph",
        READ,
        "The execution of a run, drawn.",
        f"{_API}.graph.drawn",
        parameters=f"{_API}.run.RunPath",
        media=(SVG,),
        problems=(404,),
    ),
    Route(
        "GET",
        "/runs/{run_id}/report",
        READ,
        "The quality report of a run, as a page or as data.",
        f"{_API}.run.report",
        parameters=f"{_API}.run.ReportQuery",
        answer=f"{_API}.run.Report",
        media=(HTML, JSON),
        problems=(404,),
    ),
    Route(
        "POST",
        "/runs",
        RUN,
        "Start a run, or find the one that the same Idempotency-Key started.",
        f"{_API}.starting.start",
        headers=f"{_API}.starting.StartHeaders",
        body=f"{_API}.starting.StartBody",
        answer=f"{_API}.starting.StartedRun",
        status=202,
        problems=(404, 409),
    ),
    Route(
        "GET",
        "/records",
        READ,
        "Records of a source, page by page.",
        f"{_API}.records.listed",
        parameters=f"{_API}.records.ListParameters",
        answer=f"{_API}.records.Records",
        problems=(404,),
    ),
    Route(
        "GET",
        "/records/{id}",
        READ,
        "One record, with the raw object and the line that it came from.",
        f"{_API}.records.shown",
        parameters=f"{_API}.records.IdPath",
        answer=f"{_API}.records.RecordWithRaw",
        problems=(404,),
    ),
    Route(
        "GET",
        "/quarantine",
        READ,
        "Rows that were set aside, newest first, page by page, and how many for which reason.",
        f"{_API}.quarantine.listed",
        parameters=f"{_API}.quarantine.RowsQuery",
        answer=f"{_API}.quarantine.Rows",
        problems=(404,),
    ),
    Route(
        "POST",
        "/quarantine/replay",
        RUN,
        "Judge open rows again, by today's source and suite: a run for each run that set some aside.",
        f"{_API}.quarantine.replay",
        body=f"{_API}.quarantine.ReplayBody",
        answer=f"{_API}.quarantine.Replays",
        status=202,
        problems=(404, 409),
    ),
    Route(
        "POST",
        "/quarantine/discard",
        RUN,
        "Mark open rows as not wanted; nothing is deleted.",
        f"{_API}.quarantine.discard",
        body=f"{_API}.quarantine.DiscardBody",
        answer=f"{_API}.quarantine.Discarded",
        problems=(404,),
    ),
    Route(
        "GET",
        "/analytics",
        READ,
        "Numbers of what was published and of the runs that did it: in all, by source, by day.",
        f"{_API}.analytics.shown",
        parameters=f"{_API}.analytics.AnalyticsParameters",
        answer=f"{_API}.analytics.Analytics",
        problems=(404,),
    ),
    Route(
        "GET",
        "/search",
        READ,
        "Rows by what their text says: by meaning, by words, or by both.",
        f"{_API}.searching.search",
        parameters=f"{_API}.searching.SearchParameters",
        answer=f"{_API}.searching.SearchAnswer",
        problems=(404, 503),
    ),
)


def load(path: str) -> Any:
    """What an import path names: the handler, or a model."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def within(scope: str) -> tuple[Route, ...]:
    """The routes that a token with this scope may call."""
    return tuple(route for route in ROUTES if route.scope and (scope in (route.scope, ADMIN)))
