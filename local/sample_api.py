"""The sample API: stands in, on loopback, for the real hosts that the sources fetch from.

Each real host is a path prefix, `/<host>/<path>`, answered in the host's own format, so the demo
and the tests need no network. A path that begins with `/faults/<fault>` is answered with that
fault (see `local.sample_faults`), such as `/faults/truncated/<host>/<path>`: what a source does
then is tested with it. `app` is a WSGI application.
"""

from __future__ import annotations

import json

from werkzeug.wrappers import Request, Response

from local import sample_faults, sample_market, sample_people, sample_posts, sample_shop, sample_weather

HOSTS = {
    "archive-api.open-meteo.com": sample_weather.respond,
    "jsonplaceholder.typicode.com": sample_posts.respond,
    "randomuser.me": sample_people.respond,
    sample_shop.HOST: sample_shop.respond,
    "query1.finance.yahoo.com": sample_market.respond,
}


POSTED_TO = {sample_shop.HOST}


def app(environ, start_response):
    return sample_faults.wrap(_hosts)(environ, start_response)


@Request.application
def _hosts(request: Request) -> Response:
    host, _, path = request.path.lstrip("/").partition("/")
    if not host:
        return _json({"hosts": sorted(HOSTS), "faults": sorted(sample_faults.FAULTS)})
    if host not in HOSTS:
        return _json({"error": f"no host {host!r} here", "hosts": sorted(HOSTS)}, 404)
    if request.method not in ("GET", "HEAD") and host not in POSTED_TO:
        return _json({"error": f"{request.method} is not served"}, 405)
    return HOSTS[host](request, "/" + path)


def _json(document, status: int = 200) -> Response:
    return Response(json.dumps(document), status, content_type="application/json")
