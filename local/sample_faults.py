"""Faults on demand: what a source may do to a fetch, put in front of the sample API's answers.

`/faults/<fault>[,<option>=<value>…]/<host>/<path>`, for example

    /faults/429,retry_after=2,times=1/jsonplaceholder.typicode.com/posts
    /faults/hang/archive-api.open-meteo.com/v1/archive?…

`times=n` fails n times, answers properly once, then begins again. FAULTS lists the faults; any
status from 400 to 599 is one too.
"""

from __future__ import annotations

import collections
import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator

from werkzeug.wrappers import Request, Response

_BLOCK = b'{"more": "and more"}\n' * 3000

_failures: collections.Counter[str] = collections.Counter()
_failures_lock = threading.Lock()


def wrap(app: Callable) -> Callable:
    """`app`, with `/faults/<fault>` served in front of any of its paths."""

    def faulty(environ, start_response):
        first, _, rest = environ.get("PATH_INFO", "").lstrip("/").partition("/")
        spec, _, path = rest.partition("/")
        if first != "faults" or not spec:
            return app(environ, start_response)
        name, options = _spec(spec)
        # the answer's own links then continue from here
        environ = {
            **environ,
            "SCRIPT_NAME": f"{environ.get('SCRIPT_NAME', '')}/faults/{spec}",
            "PATH_INFO": "/" + path,
        }
        fault = FAULTS.get(name) or (_status if name.isdecimal() and 400 <= int(name) <= 599 else None)
        if fault is None:
            message = {"error": f"no fault {name!r}", "faults": sorted(FAULTS)}
            return Response(json.dumps(message), 404, content_type="application/json")(environ, start_response)
        if "times" in options and not _fails_now(Request(environ).url, int(options["times"])):
            return app(environ, start_response)
        return fault(name, options, environ, app)(environ, start_response)

    return faulty


def _spec(text: str) -> tuple[str, dict[str, str]]:
    name, *options = text.split(",")
    return name, dict(option.split("=", 1) for option in options if "=" in option)


def _fails_now(url: str, times: int) -> bool:
    with _failures_lock:
        _failures[url] += 1
        if _failures[url] > times:
            del _failures[url]
            return False
        return True


def _proper(environ, app) -> Response:
    """What would have been answered without the fault."""
    return Response.from_app(app, environ, buffered=True)


def _json(body, **arguments) -> Response:
    return Response(body, content_type="application/json", **arguments)


# --- the faults: (name, options, environ, app) -> response -----------------------------------


def _status(name, options, environ, app) -> Response:
    """That status, with Open-Meteo's body. `retry_after`: a header of that value."""
    reason = "Minutely API request limit exceeded. Please try again in one minute." if name == "429" else "Sample fault"
    response = _json(json.dumps({"error": True, "reason": reason}), status=int(name))
    if "retry_after" in options:
        response.headers["Retry-After"] = options["retry_after"]
    return response


def _hang(name, options, environ, app) -> Response:
    """No answer for `seconds` (3600), then none that is of use."""
    time.sleep(float(options.get("seconds", 3600)))
    return _json(b"", status=504)


def _drip(name, options, environ, app) -> Response:
    """The proper body, a byte every `seconds` (1)."""
    response = _proper(environ, app)
    body = response.data

    def bytewise() -> Iterator[bytes]:
        for position in range(len(body)):
            yield body[position : position + 1]
            time.sleep(float(options.get("seconds", 1)))

    response.response = bytewise()
    return response


def _redirect_loop(name, options, environ, app) -> Response:
    """Two places that point to each other."""
    request = Request(environ)
    other = "a" if request.args.get("turn") != "a" else "b"
    return Response(status=302, headers={"Location": f"{request.base_url}?turn={other}"})


def _redirect_on(name, options, environ, app) -> Response:
    """Always to another place on the same host."""
    request = Request(environ)
    return Response(status=302, headers={"Location": f"{request.base_url}?turn={request.args.get('turn', 0, int) + 1}"})


def _redirect_away(name, options, environ, app) -> Response:
    """To a host that nobody declared."""
    return Response(status=302, headers={"Location": "https://elsewhere.example.com/collect"})


def _truncated(name, options, environ, app) -> Response:
    """Content-Length of the whole body, and half of it."""
    response = _proper(environ, app)
    response.response = iter([response.data[: len(response.data) // 2]])
    return response


def _half_json(name, options, environ, app) -> Response:
    """Half of the document, as if that were all of it."""
    response = _proper(environ, app)
    response.data = response.data[: len(response.data) // 2]
    return response


def _gzip(name, options, environ, app) -> Response:
    """The proper answer with Content-Encoding gzip; no fault, but one more thing to get wrong."""
    response = _proper(environ, app)
    response.data = gzip.compress(response.data)
    response.headers["Content-Encoding"] = "gzip"
    return response


def _truncated_gzip(name, options, environ, app) -> Response:
    """Half of a gzip encoding, with a Content-Length that agrees with it."""
    response = _gzip(name, options, environ, app)
    response.data = response.data[: len(response.data) // 2]
    return response


def _gzip_bomb(name, options, environ, app) -> Response:
    """50 kB that decode to 50 MB."""
    body = gzip.compress(b"[" + b" " * 50_000_000 + b"]")
    return _json(body, headers={"Content-Encoding": "gzip"})


def _html(name, options, environ, app) -> Response:
    """A page for people, with status 200."""
    page = "<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in to continue.</body></html>"
    return Response(page, content_type="text/html; charset=utf-8")


def _empty(name, options, environ, app) -> Response:
    """Status 200 and nothing else."""
    return _json(b"")


def _endless(name, options, environ, app) -> Response:
    """A body without an end, as fast as it is read."""

    def blocks() -> Iterator[bytes]:
        while True:
            yield _BLOCK

    return _json(blocks())


FAULTS: dict[str, Callable] = {
    "hang": _hang,
    "drip": _drip,
    "redirect-loop": _redirect_loop,
    "redirect-on": _redirect_on,
    "redirect-away": _redirect_away,
    "truncated": _truncated,
    "half-json": _half_json,
    "gzip": _gzip,
    "truncated-gzip": _truncated_gzip,
    "gzip-bomb": _gzip_bomb,
    "html": _html,
    "empty": _empty,
    "endless": _endless,
}
