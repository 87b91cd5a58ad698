"""The REST API as the dashboard asks it. Answers are its documents, see docs/api.md, or `GET /openapi.json`."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3

from chalicelib.errors import RequestRefused, SourceUnavailable

_SECONDS = 35  # API Gateway gives up after 29
# a connection that was closed meanwhile is found out by reading from it
_AGAIN = urllib3.Retry(total=2, connect=1, read=1, status=0, backoff_factor=0.1)

# which scope a token needs for what is asked here
_SCOPES = {"GET": "read", "POST": "run"}

# what API Gateway answers, with a 403, to a path that it does not have
_NO_ROUTE = "Missing Authentication Token"
# and to a token whose policy does not allow the route; where the policy denies it, more follows
_NOT_ALLOWED = "User is not authorized to access this resource"
NEW_TOKEN = (
    "`sluice token create dashboard --scope read --scope run` makes one with both scopes; set it as SLUICE_API_TOKEN "
    "and start the dashboard again"
)

Query = Mapping[str, Any]


@dataclass(frozen=True)
class Client:
    """`address` is that of the API, `token` a bearer token with the scopes `read` and, to replay, `run`.

    Every method raises SourceUnavailable where the API does not answer, RequestRefused where it refuses: its
    `where["status"]` is the status, its message what the API said.
    """

    address: str
    token: str
    key: str = ""  # for an API that counts by API keys

    def runs(self, **wanted: Any) -> dict[str, Any]:
        """A page of `GET /runs`: source, status, verdict, from, to, limit, page."""
        return self.get("/runs", wanted)

    def run(self, run_id: str) -> dict[str, Any]:
        return self.get(f"/runs/{_part(run_id)}")

    def state(self, run_id: str, state: str) -> dict[str, Any]:
        return self.get(f"/runs/{_part(run_id)}/states/{_part(state)}")

    def graph(self, run_id: str) -> str:
        """SVG."""
        return self.text(f"/runs/{_part(run_id)}/graph")

    def report(self, run_id: str) -> str:
        """An HTML page that needs nothing else."""
        return self.text(f"/runs/{_part(run_id)}/report")

    def sources(self) -> list[dict[str, Any]]:
        return self.get("/sources")["sources"]

    def records(self, **wanted: Any) -> dict[str, Any]:
        """A page of `GET /records`: source, table, filter (a list), from, to, sort, limit, page."""
        return self.get("/records", wanted)

    def record(self, record_id: str) -> dict[str, Any]:
        return self.get(f"/records/{_part(record_id)}")

    def analytics(self, **wanted: Any) -> dict[str, Any]:
        return self.get("/analytics", wanted)

    def search(self, **wanted: Any) -> dict[str, Any]:
        return self.get("/search", wanted)

    def quarantine(self, **wanted: Any) -> dict[str, Any]:
        return self.get("/quarantine", wanted)

    def replay(self, **wanted: Any) -> dict[str, Any]:
        return self._json("POST", "/quarantine/replay", wanted)

    def discard(self, **wanted: Any) -> dict[str, Any]:
        """`why` beside what says which rows."""
        return self._json("POST", "/quarantine/discard", wanted)

    def get(self, path: str, query: Query | None = None) -> dict[str, Any]:
        """The JSON document; of `query` what is None or empty is not sent."""
        given = {name: value for name, value in (query or {}).items() if value not in (None, "", [], ())}
        return self._json("GET", f"{path}?{urlencode(given, doseq=True)}" if given else path)

    def pages(self, path: str, query: Query, name: str, most: int) -> Iterator[dict[str, Any]]:
        """The items called `name` of the pages of a list, one by one, `most` of them."""
        document = self.get(path, query)
        while True:
            for item in document[name]:
                if most <= 0:
                    return
                most -= 1
                yield item
            if not document["next"] or most <= 0:
                return
            document = self._json("GET", document["next"])

    def text(self, path: str) -> str:
        return self._ask("GET", path).decode("utf-8")

    def _json(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        content = self._ask(method, path, body)
        try:
            return json.loads(content)
        except ValueError:
            raise RequestRefused(
                f"{self.address} answered {path} with something other than JSON",
                status=502,
                reason="no JSON",
                next_step="look whether SLUICE_API_URL is the address of the API",
            ) from None

    def _ask(self, method: str, path: str, body: Any = None) -> bytes:
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "*/*"}
        if self.key:
            headers["X-Api-Key"] = self.key
        sent = None
        if body is not None:
            headers["Content-Type"], sent = "application/json", json.dumps(body).encode()
        again = _AGAIN if method == "GET" else False
        try:
            answer = _pool(self.address).request(
                method,
                self.address + path,
                body=sent,
                headers=headers,
                timeout=_SECONDS,
                retries=again,
                redirect=False,  # the token is for this address alone
            )
        except urllib3.exceptions.HTTPError as error:
            raise SourceUnavailable(
                f"the API at {self.address} does not answer",
                quote=_cause(error),
                next_step="on the laptop `sluice up`, and start the dashboard again: the API has another address then; "
                "of a stage on AWS look whether this machine reaches it",
            ) from None
        if answer.status < 300:
            return answer.data
        if answer.status < 400:
            raise _moved(self.address, answer.status, answer.headers.get("Location", ""))
        raise _refused(answer.status, answer.data, _SCOPES[method])


def _part(value: str) -> str:
    return quote(value, safe="")


@functools.cache
def _pool(address: str) -> urllib3.PoolManager:
    """Connections are kept and shared between sessions."""
    target = urlsplit(address)
    proxy = getproxies().get(target.scheme)
    if proxy and not proxy_bypass(target.hostname or ""):
        return urllib3.ProxyManager(proxy, maxsize=8)
    return urllib3.PoolManager(maxsize=8)


def _moved(address: str, status: int, location: str) -> RequestRefused:
    """Without the query of `location`: that of a login holds what is nobody else's."""
    where = urlsplit(location)._replace(query="", fragment="").geturl()
    return RequestRefused(
        f"{address} sends on to {where or 'nowhere'} instead of answering",
        status=status,
        reason="redirect",
        next_step="set SLUICE_API_URL to the address at which the API itself answers, and start the dashboard again",
    )


def _refused(status: int, content: bytes, scope: str) -> RequestRefused:
    """What a problem document says, or API Gateway, which knows no more than `message`."""
    try:
        document = json.loads(content)
        told = document.get("detail") or document.get("message") or document.get("Message")
    except (ValueError, AttributeError):
        document, told = {}, None
    reason = document.get("reason")
    if status == 403 and told == "Forbidden":
        return RequestRefused(
            "the API asks for an API key, and knows none such",
            status=status,
            reason="key",
            next_step="set SLUICE_API_KEY to one of the stage's usage plan and start the dashboard again",
        )
    if told == _NO_ROUTE:
        return RequestRefused(
            "the API has no such route",
            status=404,
            reason="route",
            next_step="it is older than this dashboard: deploy the stage again, or restart the local stack",
        )
    # no statement about a token that is known is about the route; that about another one denies all
    if status == 403 and told and told.startswith(_NOT_ALLOWED) and "explicit deny" not in told:
        return RequestRefused(
            f"the token lacks the scope {scope!r}",
            status=status,
            reason="scope",
            next_step=NEW_TOKEN,
        )
    if status in (401, 403) and not reason:
        return RequestRefused(
            "the API does not know the token, or it has expired or was revoked",
            status=status,
            reason="token",
            next_step=NEW_TOKEN,
        )
    return RequestRefused(told or "the API refused the request and did not say why", status=status, reason=reason)


def _cause(error: Exception) -> str:
    cause = getattr(error, "reason", None) or error
    return str(cause).split(">: ")[-1].split("): ")[-1]
