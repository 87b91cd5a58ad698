"""GET and POST, for sources: polite to the server, strict about the answer, bounded in time and size.

What may pass by itself (no connection, 5xx, 429, a body cut short) ends as SourceUnavailable after
a few tries of our own; the state machine then retries the whole partition later. What will not
(4xx, HTML instead of JSON, a redirect off the declared hosts) ends as SourceError at once.
"""

from __future__ import annotations

import ipaddress
import ssl
import time
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urljoin

import orjson
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util import Url, parse_url

from chalicelib import redaction
from chalicelib.errors import ConfigurationError, SourceError, SourceUnavailable
from chalicelib.http_patience import Pace, Patience, retry_after
from chalicelib.http_response import CONNECTION_ERRORS, Allowance, Deadline, Exchange, Response
from chalicelib.settings import LIVE, Settings

if TYPE_CHECKING:
    from chalicelib.sources.base import Source

__all__ = ["LIVE", "Client", "Response"]

USER_AGENT = "Sluice/0.1 (data pipeline)"

CONNECT_SECONDS = 10
READ_SECONDS = 60  # of silence; the whole fetch, all its requests, has settings.fetch_seconds
REDIRECTS = 5

_REDIRECT = {301, 302, 303, 307, 308}
# after a status below 500, which trying again would not change
_OTHERWISE = "check the window and the input of the run, then the request that the source makes of them"
_REMEDY = dict.fromkeys((401, 403), "check the key or the login that the source sends, and what that may read")
_DEFAULT_PORT = {"http": 80, "https": 443}


class Client:
    """Fetches from the declared hosts, and from nowhere else: one client per partition, with its time and bytes.

    `hosts` are names, or `name:port`; a bare name stands for the scheme's own port, and on
    loopback for any. With `settings.sources_url` other than "live", the sample API at that URL
    is allowed too and stands in for every real host, see `url_of`. `sleep` takes seconds.

    `seconds_between` requests to a host, by host, are kept as `Pace` says. `asked_wait` reads the seconds out of
    the words of a 429 without Retry-After, None where they say nothing of it.

    `named_by_user` is for a URL that somebody gave for this run instead of a source's author: then its
    host may be asked by plain http, and may redirect to any other host by https, as portals do to their storage.
    """

    def __init__(
        self,
        hosts: Collection[str],
        settings: Settings,
        sleep: Callable[[float], None] = time.sleep,
        named_by_user: bool = False,
        seconds_between: Mapping[str, float] | None = None,
        asked_wait: Callable[[str], float | None] = lambda reason: None,
    ):
        self.settings = settings
        self._sleep = sleep
        self._named_by_user = named_by_user
        self._pace = Pace(seconds_between or {}, sleep)
        self._asked_wait = asked_wait
        # for all pages of a fetch together; time runs from the first request
        self._deadline: Deadline | None = None
        self._allowance = Allowance(settings.fetch_bytes)
        self._hosts = {host.lower() for host in hosts}
        if settings.sources_url != LIVE:
            self._hosts.add(_sample_host(settings.sources_url))

    @classmethod
    def of(cls, source: Source, settings: Settings, runs_at_once: int = 1) -> Client:
        """A client with which a partition of `source` is fetched, beside others of so many runs."""
        pauses = source.seconds_between(settings, runs_at_once)
        return cls(source.hosts, settings, seconds_between=pauses, asked_wait=source.asked_wait)

    def url_of(self, host: str, path: str) -> str:
        """Where `path` of a real `host` is found: there, or under the sample API as /<host><path>."""
        if self.settings.sources_url == LIVE:
            return f"https://{host}{path}"
        return f"{self.settings.sources_url.rstrip('/')}/{host}{path}"

    def get(
        self, url: str, params: Mapping | None = None, headers: Mapping[str, str] | None = None, json: bool = True
    ) -> Response:
        """The answer to a GET, its body not read yet.

        An HTML page is refused. `json` says that JSON is expected: then so is an empty body, and
        one that begins like markup whatever its Content-Type. Raises SourceUnavailable or
        SourceError, naming the URL without its secrets.
        """
        if params:
            url += ("&" if "?" in url else "?") + urlencode(params)
        patience = self._patience()
        visited = [url]
        while True:
            response = self._answer(visited[-1], visited[-2] if visited[1:] else None, headers or {}, json, patience)
            if response is None:
                continue
            if response.status not in _REDIRECT:
                return _checked(response, json)
            response.close()
            self._follow(response, visited)
            if parse_url(visited[-1]).netloc != parse_url(visited[-2]).netloc:
                headers = None  # they may hold a key that is meant for the first host alone

    def post(self, url: str, form: Mapping[str, str], headers: Mapping[str, str] | None = None) -> Response:
        """The JSON answer to a form, for logins and searches; like `get`, but that no redirect is followed.

        It may be sent more than once, so what it asks for must bear that.
        """
        patience = self._patience()
        while True:
            response = self._answer(url, None, headers or {}, True, patience, urlencode(form).encode())
            if response is None:
                continue
            if response.status in _REDIRECT:
                response.close()
                raise SourceError(f"the source redirects a POST ({response.status})", url=redaction.url(url))
            return _checked(response, True)

    def _patience(self) -> Patience:
        self._deadline = self._deadline or Deadline(self.settings.fetch_seconds)
        return Patience(self._deadline, self._sleep)

    # --- one try ---------------------------------------------------------------------------------

    def _answer(
        self,
        url: str,
        redirected_from: str | None,
        headers: Mapping[str, str],
        json: bool,
        patience: Patience,
        form: bytes | None = None,
    ) -> Response | None:
        """What the server answers, or None when it is worth another try after the wait just taken."""
        target = self._allowed(url, redirected_from)
        headers = {
            "User-Agent": USER_AGENT,
            "Accept": "application/json" if json else "*/*",
            "Accept-Encoding": "gzip",
            "Connection": "close",  # one request each: no stale connection to be retried
            **({} if form is None else {"Content-Type": "application/x-www-form-urlencoded"}),
            **headers,
        }
        where = redaction.url(url)
        withheld = redaction.secrets(url, headers)
        self._pace.wait(target.host)
        try:
            exchange = _exchange(target, headers, patience.deadline, withheld, form)
        except ssl.SSLCertVerificationError as error:
            raise SourceError(
                f"the certificate of {target.host} is not valid: {error.verify_message}", url=where
            ) from None
        except CONNECTION_ERRORS as error:
            patience.failed(redaction.text(str(error) or type(error).__name__, withheld), where)
            return None
        response = Response(url, exchange, self._allowance)
        status = response.status
        if status < 300 or status in _REDIRECT:
            return response
        reason = _reason(response)
        response.close()
        wait = retry_after(response.headers) if status in (429, 503) else None
        if wait is None and status == 429:
            wait = self._asked_wait(reason)
        if wait is not None:
            patience.asked_to_wait(wait, status, reason, where)
        elif status == 429:
            raise SourceUnavailable("429, too many requests", quote=reason, url=where)
        elif status >= 500:
            patience.failed(str(status), where, reason)
        else:
            raise SourceError(
                f"the source answered {status}", quote=reason, url=where, next_step=_REMEDY.get(status, _OTHERWISE)
            )
        return None

    def _allowed(self, url: str, redirected_from: str | None = None) -> Url:
        """The URL in its parts; raises SourceError for one that this client must not contact."""
        where = redaction.url(url)
        try:
            target = parse_url(url)
        except urllib3.exceptions.LocationParseError:
            raise SourceError("this is not a URL", url=where) from None
        if target.scheme not in _DEFAULT_PORT or not target.host:
            raise SourceError("only http and https URLs can be fetched", url=where)
        if target.auth:
            raise SourceError("the URL holds a password", url=where, next_step="send it as a header instead")
        port = target.port or _DEFAULT_PORT[target.scheme]
        named = {f"{target.host}:{port}"}
        if port == _DEFAULT_PORT[target.scheme] or _is_loopback(target.host):
            named.add(target.host)
        followed = self._named_by_user and redirected_from is not None and target.scheme == "https"
        if not named & self._hosts and not followed:
            raise SourceError(
                f"{target.netloc} is none of the hosts that the source declares",
                url=where,
                next_step=f"declared are {', '.join(sorted(self._hosts)) or 'none'}; add it to the source's `hosts`",
            )
        plain_from_start = self._named_by_user and not (redirected_from or "").lower().startswith("https:")
        if target.scheme == "http" and not _is_loopback(target.host) and not plain_from_start:
            raise SourceError("only https is used beyond loopback", url=where)
        return target

    def _follow(self, response: Response, visited: list[str]) -> None:
        """Append the redirect's target to `visited`; raises SourceError for a loop or one too many."""
        location = response.headers.get("Location")
        where = redaction.url(visited[0])
        if not location:
            raise SourceError(f"the source answered {response.status} without a Location", url=where)
        try:
            target = urljoin(response.url, location)
        except ValueError:
            raise SourceError(f"the source redirects to {redaction.url(location)!r}, not a URL", url=where) from None
        if target in visited:
            circle = " → ".join(redaction.url(u) for u in [*visited, target])
            raise SourceError(f"the source redirects in a circle: {circle}", url=where)
        if len(visited) > REDIRECTS:
            raise SourceError(f"the source redirects more than {REDIRECTS} times", url=where)
        try:
            self._allowed(target, redirected_from=response.url)
        except SourceError as error:
            raise SourceError(f"the source redirects to {redaction.url(target)}: {error.message}", url=where) from None
        visited.append(target)


def _exchange(
    target: Url, headers: Mapping[str, str], deadline: Deadline, withheld: frozenset[str], form: bytes | None
) -> Exchange:
    """Send the request and read the answer's headers.

    urllib3's connections are used without its pool: the deadline has to reach the socket while
    the headers arrive, and the pool only hands it out afterwards.
    """
    timeout = max(0.001, min(CONNECT_SECONDS, deadline.left))
    if target.scheme == "https":
        connection = HTTPSConnection(
            target.host, target.port, timeout=timeout, ssl_context=ssl.create_default_context()
        )
    else:
        connection = HTTPConnection(target.host, target.port, timeout=timeout)
    guard = None
    try:
        connection.connect()
        guard = deadline.guard(connection.sock)
        connection.timeout = READ_SECONDS
        connection.request(
            "GET" if form is None else "POST",
            target.request_uri,
            body=form,
            headers=headers,
            preload_content=False,
            decode_content=False,
            enforce_content_length=False,
        )
        return Exchange(connection.getresponse(), connection, guard, deadline, withheld)
    except BaseException:
        if guard:
            guard.cancel()
        connection.close()
        raise


def _checked(response: Response, json: bool) -> Response:
    """`response`, unless it cannot be the data that was expected."""
    where = redaction.url(response.url)
    head = response.start(512)
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if json and not start and len(head) < 512:
        response.close()
        raise SourceError(f"the source answered {response.status} with an empty body, expected JSON", url=where)
    if "html" in response.headers.get("Content-Type", "").lower() or (json and start.startswith(b"<")):
        quote = response.quote()
        response.close()
        expected = "JSON" if json else "data"
        raise SourceError(f"the source answered with HTML, expected {expected}", quote=quote, url=where)
    return response


def _reason(response: Response) -> str:
    """Why the server refused: what its JSON body says, at whatever depth, else how the body begins."""
    quote = response.quote()
    try:
        document = orjson.loads(response.start(4096))
    except (orjson.JSONDecodeError, SourceError, SourceUnavailable):
        return quote or "no body"
    return response.masked(_told(document) or "") or quote or "no body"


def _told(document: object) -> str | None:
    """The text of an error as APIs word it: `{"reason": …}`, `{"error": {"description": …}}` and the like."""
    if not isinstance(document, dict):
        return None
    for name in ("reason", "message", "description", "error_description", "detail", "error"):
        if isinstance(document.get(name), str) and document[name].strip():
            return document[name][:200]
    return next((told for value in document.values() if (told := _told(value))), None)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _sample_host(url: str) -> str:
    target = parse_url(url)
    if target.scheme not in _DEFAULT_PORT or not target.host:
        raise ConfigurationError(
            f"SLUICE_SOURCES_URL is {url!r}", next_step=f'set it to "{LIVE}" or to the URL of a sample API'
        )
    return f"{target.host}:{target.port or _DEFAULT_PORT[target.scheme]}"
