"""The source: an HTTP API on loopback that says what `truth` says, and does to a fetch what a trial's faults say."""

from __future__ import annotations

import datetime as dt
import json
import threading
import time
from collections import defaultdict
from dataclasses import dataclass

from werkzeug.wrappers import Request, Response

from local.http import listen, serve, url
from storm import truth


@dataclass
class SourceFault:
    """The first `after` requests are answered properly, the next `times` with the fault; one that is over is CHANGED
    data from then on, or SPOILED until it is mended."""

    action: str
    after: int
    times: int
    seconds: float = 0.0
    met: int = 0
    struck: int = 0


class Upstream:
    """Every lane has a path of its own, `/<lane>?day=…&cursor=<page>`."""

    def __init__(self, seed: int):
        self._seed, self._lock = seed, threading.Lock()
        self._faults: dict[str, list[SourceFault]] = defaultdict(list)
        self._served: dict[str, dict[tuple[str, int], set[str]]] = defaultdict(lambda: defaultdict(set))
        listening = listen()
        self.url = url(listening)
        self._server = serve(listening, self._answer)

    def arm(self, lane: str, faults: list[SourceFault]) -> None:
        """From now on the lane has these faults, and nothing was served yet."""
        with self._lock:
            self._faults[lane] = faults
            self._served[lane] = defaultdict(set)

    def mend(self, lane: str) -> None:
        with self._lock:
            self._faults[lane] = []

    def served(self, lane: str) -> dict[tuple[str, int], list[str]]:
        """By day and page: the versions that were given in whole since the lane was armed."""
        with self._lock:
            return {place: sorted(versions) for place, versions in self._served[lane].items()}

    def close(self) -> None:
        self._server.shutdown()

    def _answer(self, environ, start_response):
        request = Request(environ)
        lane = request.path.strip("/")
        day, number = request.args["day"], int(request.args.get("cursor", "0"))
        with self._lock:
            struck, version = self._met(lane)
        response = self._page(lane, day, number, version)
        if struck is None:
            with self._lock:
                self._served[lane][day, number].add(version)
            return response(environ, start_response)
        return _spoil(response, struck)(environ, start_response)

    def _met(self, lane: str) -> tuple[SourceFault | None, str]:
        """The fault that a request is struck by, and the version of the data that is served otherwise."""
        version, found = truth.PLANNED, None
        for fault in self._faults[lane]:
            fault.met += 1
            if fault.met <= fault.after:
                continue
            if fault.action in (truth.CHANGED, truth.SPOILED):
                version = fault.action
                fault.struck += 1
            elif fault.met <= fault.after + fault.times and found is None:
                fault.struck += 1
                found = fault
        return found, version

    def _page(self, lane: str, day: str, number: int, version: str) -> Response:
        made = truth.pages(self._seed, lane, dt.date.fromisoformat(day), version)
        following = str(number + 1) if number + 1 < len(made) else None
        if lane.endswith("lines"):
            body = "".join(json.dumps(row) + "\n" for row in made[number])
            return Response(body, content_type="application/x-ndjson", headers={"Next": following or ""})
        return Response(json.dumps({"rows": made[number], "next": following}), content_type="application/json")


def _spoil(response: Response, fault: SourceFault) -> Response:
    if fault.action == "429":
        headers = {"Retry-After": "1"} if fault.seconds else {}
        return Response('{"reason": "too many requests"}', 429, headers)
    if fault.action == "500":
        return Response('{"reason": "a fault"}', 500)
    if fault.action == "hang":
        time.sleep(fault.seconds)
        return Response("", 504)
    # Content-Length of the whole, and half of it
    response.response = [response.data[: len(response.data) // 2]]
    return response
