"""The client against a real server on loopback that does what servers do on their bad days."""

from __future__ import annotations

import datetime as dt
import email.utils
import gzip
import json
import socket
import ssl
import threading
import time

import pytest
from loopback import serving
from werkzeug.wrappers import Request, Response

from chalicelib import http_patience
from chalicelib.errors import ConfigurationError, SourceError, SourceUnavailable
from chalicelib.http import Client
from chalicelib.settings import Settings
from local import sample_api

POSTS = "jsonplaceholder.typicode.com/posts"


class Web:
    """A test's own answers next to the sample API: `answer(path, response)` or a function of the request."""

    def __init__(self):
        self.answers = {}
        self.requests: list[Request] = []

    def answer(self, path, response):
        self.answers[path] = response

    def __call__(self, environ, start_response):
        request = Request(environ)
        self.requests.append(request)
        response = self.answers.get(request.path)
        if response is None:
            return sample_api.app(environ, start_response)
        return (response(request) if callable(response) and not isinstance(response, Response) else response)(
            environ, start_response
        )


@pytest.fixture(scope="module")
def server():
    web = Web()
    with serving(web) as url:
        web.url = url
        yield web


@pytest.fixture
def web(server):
    server.answers.clear()
    server.requests.clear()
    return server


@pytest.fixture
def sleeps():
    return []


@pytest.fixture
def client(web, sleeps):
    return Client(["127.0.0.1"], Settings(fetch_seconds=30), sleep=sleeps.append)


def raw_server(*sends):
    """Serves one connection after another by `send(socket)`, for what a WSGI server would not do; returns its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        with listener:
            for send in sends:
                with listener.accept()[0] as connection:
                    connection.recv(65536)
                    send(connection)

    threading.Thread(target=serve, daemon=True).start()
    return listener.getsockname()[1]


# --- what a good answer gives ----------------------------------------------------------------


def test_a_body_is_read_whole_or_as_a_stream(client, web):
    whole = client.get(f"{web.url}/{POSTS}").read()
    with client.get(f"{web.url}/{POSTS}").stream() as stream:
        pieces = [stream.read(1000), stream.read()]
    assert len(json.loads(whole)) == 100
    assert b"".join(pieces) == whole
    assert len(pieces[0]) == 1000  # s3transfer takes a short read for the end of a part


def test_status_headers_and_final_url_are_kept(client, web):
    web.answer("/old", Response(status=301, headers={"Location": f"/{POSTS}?_page=1"}))
    answer = client.get(f"{web.url}/old")
    assert (answer.status, answer.headers["x-total-count"]) == (200, "100")
    assert answer.url == f"{web.url}/{POSTS}?_page=1"


def test_the_client_names_itself_and_sends_parameters_and_headers(client, web):
    web.answer("/echo", lambda r: Response(json.dumps([r.headers["User-Agent"], r.args["q"], r.headers["X-Mine"]])))
    answer = client.get(f"{web.url}/echo", params={"q": "a b&c=ü"}, headers={"X-Mine": "1"})
    agent, query, mine = json.loads(answer.read())
    assert agent.startswith("Sluice/") and (query, mine) == ("a b&c=ü", "1")


def test_parameters_are_added_to_those_in_the_url(client, web):
    web.answer("/echo", lambda r: Response(json.dumps(r.args)))
    assert json.loads(client.get(f"{web.url}/echo?a=1", params={"b": 2}).read()) == {"a": "1", "b": "2"}


def test_a_gzip_encoding_is_decoded(client, web):
    assert client.get(f"{web.url}/faults/gzip/{POSTS}").read() == client.get(f"{web.url}/{POSTS}").read()


def test_a_gzip_encoding_of_several_members_is_decoded_whole(client, web):
    body = gzip.compress(b"[1,") + gzip.compress(b"2]")
    web.answer("/members", Response(body, headers={"Content-Encoding": "gzip"}))
    assert client.get(f"{web.url}/members").read() == b"[1,2]"


def test_a_gz_file_is_handed_over_as_it_is(client, web):
    body = gzip.compress(b"a,b\n1,2\n")
    web.answer("/rows.csv.gz", Response(body, content_type="application/gzip"))
    assert client.get(f"{web.url}/rows.csv.gz", json=False).read() == body


def test_a_chunked_body_of_unknown_length_is_read_to_its_end(client, web):
    web.answer("/chunked", lambda r: Response(b"%d," % n for n in range(5000)))
    assert client.get(f"{web.url}/chunked").read().endswith(b",4999,")


# --- limits ----------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["hang,seconds=3", "drip,seconds=0.2"])
def test_a_server_that_hangs_or_drips_ends_at_the_deadline(web, fault):
    client = Client(["127.0.0.1"], Settings(fetch_seconds=0.5))
    with pytest.raises(SourceUnavailable, match=r"within 0.5 s"):
        client.get(f"{web.url}/faults/{fault}/{POSTS}").read()


@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n[",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
    ids=["status line", "headers", "body", "chunk length"],
)
def test_a_drip_ends_at_the_deadline_wherever_it_is(beginning):
    def drip(connection):
        connection.sendall(beginning)
        while True:
            try:
                connection.sendall(b"0")
            except OSError:
                return
            time.sleep(0.05)

    client = Client(["127.0.0.1"], Settings(fetch_seconds=0.5))
    with pytest.raises(SourceUnavailable, match=r"within 0.5 s"):
        client.get(f"http://127.0.0.1:{raw_server(drip)}/").read()


def test_the_deadline_holds_while_the_stream_is_read(web):
    client = Client(["127.0.0.1"], Settings(fetch_seconds=1))

    def stalling():
        yield b"[" * 1000
        for _ in range(40):
            time.sleep(0.1)
            yield b"["

    web.answer("/stall", lambda r: Response(stalling()))
    stream = client.get(f"{web.url}/stall").stream()
    with pytest.raises(SourceUnavailable, match=r"within 1 s; 1,0\d\d bytes arrived"):
        stream.read()


def test_an_endless_body_ends_at_the_size_limit(web):
    client = Client(["127.0.0.1"], Settings(fetch_bytes=1_000_000))
    stream = client.get(f"{web.url}/faults/endless/{POSTS}").stream()
    with pytest.raises(SourceError, match=r"larger than the limit of 1,000,000 bytes.*SLUICE_FETCH_BYTES"):
        while stream.read(100_000):
            pass


def test_an_announced_size_beyond_the_limit_is_refused_before_reading(web):
    client = Client(["127.0.0.1"], Settings(fetch_bytes=1000))
    with pytest.raises(SourceError, match=r"limit of 1,000 bytes \([\d,]+ announced\)"):
        client.get(f"{web.url}/{POSTS}")


def test_time_and_bytes_are_those_of_all_pages_of_a_fetch(web):
    """Each page takes 0.2 s and 1,000 bytes."""

    def page(request):
        time.sleep(0.2)
        return Response(b"[" + b" " * 998 + b"]")

    def pages(client):
        for number in range(20):
            yield len(client.get(f"{web.url}/{number}").read())

    for number in range(20):
        web.answer(f"/{number}", page)
    with pytest.raises(SourceUnavailable, match="within 1 s"):
        list(pages(Client(["127.0.0.1"], Settings(fetch_seconds=1))))
    several = pages(Client(["127.0.0.1"], Settings(fetch_bytes=2_500)))
    assert (next(several), next(several)) == (1_000, 1_000)
    with pytest.raises(SourceError, match=r"with those before it, is larger than the limit of 2,500 bytes \(1,000 ann"):
        next(several)


def test_the_size_limit_holds_for_the_decoded_size(web):
    client = Client(["127.0.0.1"], Settings(fetch_bytes=1_000_000))
    with pytest.raises(SourceError, match="limit of 1,000,000 bytes"):
        client.get(f"{web.url}/faults/gzip-bomb/{POSTS}").read()


def test_read_takes_a_limit_of_its_own(client, web):
    with pytest.raises(SourceError, match="limit of 100 bytes"):
        client.get(f"{web.url}/{POSTS}").read(100)


# --- bodies that are not what they say -------------------------------------------------------


def test_a_body_shorter_than_announced_names_both_numbers(client, web):
    whole = len(client.get(f"{web.url}/{POSTS}").read())
    with pytest.raises(SourceUnavailable, match=f"ended after {whole // 2:,} of {whole:,} bytes"):
        client.get(f"{web.url}/faults/truncated/{POSTS}").read()


def test_a_stream_that_breaks_off_raises_instead_of_ending(client, web):
    stream = client.get(f"{web.url}/faults/truncated/{POSTS}").stream()
    with pytest.raises(SourceUnavailable):
        while stream.read(1000):
            pass


def test_a_chunked_body_that_breaks_off_is_noticed(client):
    port = raw_server(
        lambda c: c.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[1,2,\r\n40\r\n3")
    )
    with pytest.raises(SourceUnavailable, match="ended after"):
        client.get(f"http://127.0.0.1:{port}/").read()


def test_a_truncated_gzip_encoding_is_noticed(client, web):
    with pytest.raises(SourceUnavailable, match="gzip encoding ends early"):
        client.get(f"{web.url}/faults/truncated-gzip/{POSTS}").read()


def test_an_encoding_that_is_not_gzip_after_all_is_an_error(client, web):
    web.answer("/plain", Response(b'{"a": 1}', headers={"Content-Encoding": "gzip"}))
    with pytest.raises(SourceError, match="claims Content-Encoding gzip"):
        client.get(f"{web.url}/plain").read()


def test_an_encoding_nobody_asked_for_is_an_error(client, web):
    web.answer("/br", Response(b"...", headers={"Content-Encoding": "br"}))
    with pytest.raises(SourceError, match="'br'"):
        client.get(f"{web.url}/br")


def test_html_instead_of_json_is_quoted(client, web):
    with pytest.raises(SourceError, match=r"HTML, expected JSON: <!DOCTYPE html>.*Please sign in"):
        client.get(f"{web.url}/faults/html/{POSTS}")


def test_markup_with_the_content_type_of_json_is_refused_too(client, web):
    web.answer("/login", Response(b"\n <html>no</html>", content_type="application/json"))
    with pytest.raises(SourceError, match="<html>no</html>"):
        client.get(f"{web.url}/login")


@pytest.mark.parametrize("body", [b"", b" \r\n", gzip.compress(b"")], ids=["nothing", "blanks", "gzip of nothing"])
def test_an_empty_body_instead_of_json_is_refused(client, web, body):
    headers = {"Content-Encoding": "gzip"} if body.startswith(b"\x1f") else {}
    web.answer("/empty", Response(body, headers=headers))
    with pytest.raises(SourceError, match="200 with an empty body"):
        client.get(f"{web.url}/empty")


def test_a_page_for_people_is_refused_where_a_file_was_expected(client, web):
    with pytest.raises(SourceError, match=r"HTML, expected data: .*Please sign in"):
        client.get(f"{web.url}/faults/html/{POSTS}", json=False)


def test_where_no_json_is_expected_an_empty_body_is_fine(client, web):
    assert client.get(f"{web.url}/faults/empty/{POSTS}", json=False).read() == b""


# --- statuses --------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422])
def test_a_refusal_is_final_and_quotes_url_status_and_body(client, web, sleeps, status):
    web.answer("/no", Response("a" * 150 + "b" * 150, status=status))
    with pytest.raises(SourceError) as raised:
        client.get(f"{web.url}/no")
    assert f"answered {status}: {'a' * 150}{'b' * 50} (url={web.url}/no)" in str(raised.value)
    remedy = "the key or the login" if status in (401, 403) else "the window and the input of the run"
    assert f"Next: check {remedy}" in str(raised.value)
    assert sleeps == [] and len(web.requests) == 1


def test_server_errors_are_retried_until_the_server_recovers(client, web, sleeps):
    body = client.get(f"{web.url}/faults/500,times=3/{POSTS}").read()
    assert len(json.loads(body)) == 100
    assert len(sleeps) == 3


def test_server_errors_that_last_end_after_three_retries(client, web, sleeps):
    with pytest.raises(SourceUnavailable, match=r"tried 4 times, last: 502: Sample fault"):
        client.get(f"{web.url}/faults/502/{POSTS}")
    assert len(web.requests) == 4


def test_the_backoff_is_jittered_below_a_doubling_bound(client, web, sleeps, monkeypatch):
    monkeypatch.setattr(http_patience.random, "uniform", lambda low, high: high)
    with pytest.raises(SourceUnavailable):
        client.get(f"{web.url}/faults/500/{POSTS}")
    assert sleeps == [1.0, 2.0, 4.0]


def test_a_refused_connection_is_retried_then_named(client, sleeps):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(SourceUnavailable, match=r"tried 4 times, last: .*refused"):
        client.get(f"http://127.0.0.1:{port}/")
    assert len(sleeps) == 3


def test_a_connection_closed_without_an_answer_is_retried(client, sleeps):
    port = raw_server(lambda c: None)
    with pytest.raises(SourceUnavailable, match="tried 4 times"):
        client.get(f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize("status", [429, 503])
def test_a_short_retry_after_is_waited_for(client, web, sleeps, status):
    client.get(f"{web.url}/faults/{status},retry_after=7,times=2/{POSTS}").read()
    assert sleeps == [7.0, 7.0]


@pytest.mark.parametrize("status", [429, 503])
def test_a_long_retry_after_says_how_long(client, web, sleeps, status):
    # nothing retries it: the state machine would ask five times more within a minute
    with pytest.raises(SourceError, match=rf"{status}, the source asks to wait 3600 s.* Next: run it again after 2"):
        client.get(f"{web.url}/faults/{status},retry_after=3600/{POSTS}")
    assert sleeps == [] and len(web.requests) == 1


@pytest.mark.parametrize("seconds", [0, 20])
def test_waits_end_at_75_seconds_in_sum(web, sleeps, seconds):
    client = Client(["127.0.0.1"], Settings(), sleep=sleeps.append)
    with pytest.raises(SourceUnavailable, match="asks to wait"):
        client.get(f"{web.url}/faults/429,retry_after={seconds}/{POSTS}")
    assert 0 < sum(sleeps) <= 75


def test_retry_after_may_be_a_date_by_the_servers_clock(client, sleeps):
    now = dt.datetime(2030, 1, 1, 12, tzinfo=dt.UTC)
    date, later = (email.utils.format_datetime(now + dt.timedelta(seconds=s), usegmt=True) for s in (0, 9))
    port = raw_server(
        lambda c: c.sendall(f"HTTP/1.1 429 No\r\nDate: {date}\r\nRetry-After: {later}\r\n\r\n".encode()),
        lambda c: c.sendall(b"HTTP/1.1 200 OK\r\n\r\n[]"),
    )
    assert client.get(f"http://127.0.0.1:{port}/").read() == b"[]"
    assert sleeps == [9.0]


def test_a_retry_after_that_cannot_be_read_counts_as_none(client, web, sleeps):
    with pytest.raises(SourceUnavailable, match="Minutely"):
        client.get(f"{web.url}/faults/429,retry_after=soon/{POSTS}")
    assert sleeps == []


def test_429_without_retry_after_gives_the_reason_in_the_body(client, web, sleeps):
    with pytest.raises(SourceUnavailable, match=r"429.*Minutely API request limit exceeded.*in one minute"):
        client.get(f"{web.url}/faults/429/{POSTS}")
    assert sleeps == [] and len(web.requests) == 1


def test_a_wait_beyond_the_deadline_is_not_begun(web, sleeps):
    client = Client(["127.0.0.1"], Settings(fetch_seconds=5), sleep=sleeps.append)
    with pytest.raises(SourceUnavailable, match="within 5 s, last: 429"):
        client.get(f"{web.url}/faults/429,retry_after=10/{POSTS}")
    assert sleeps == []


@pytest.mark.parametrize(
    ("words", "slept"), [("try again in one minute", [60.0]), ("who knows", None), ("tomorrow", None)]
)
def test_a_429_may_say_in_words_how_long_to_wait(web, sleeps, words, slept):
    def wait(reason):
        return {"try again in one minute": 60.0, "tomorrow": 40_000.0}.get(reason)

    answers = iter([Response(json.dumps({"error": True, "reason": words}), 429), Response("[1]")])
    web.answer("/busy", lambda r: next(answers))
    client = Client(["127.0.0.1"], Settings(), sleep=sleeps.append, asked_wait=wait)
    if slept:
        assert client.get(f"{web.url}/busy").read() == b"[1]"
    else:
        with pytest.raises(SourceError if words == "tomorrow" else SourceUnavailable, match=f"429.*{words}"):
            client.get(f"{web.url}/busy")
    assert sleeps == (slept or [])


# --- a limit per host ------------------------------------------------------------------------


def test_requests_to_a_host_keep_their_distance_from_the_first_one_on(web):
    pauses = []
    client = Client(["127.0.0.1"], Settings(), sleep=pauses.append, seconds_between={"127.0.0.1": 30.0})
    for _ in range(3):
        client.get(f"{web.url}/{POSTS}").read()
    # the clock of the test does not sleep, so that each waits for what is left of all of it
    assert pauses[0] == 30.0 and len(pauses) == 3
    assert all(20 < pause <= 30 for pause in pauses[1:])


def test_retries_and_redirects_are_requests_too_and_other_hosts_are_not_waited_for(web):
    pauses = []
    client = Client(["127.0.0.1"], Settings(), sleep=pauses.append, seconds_between={"127.0.0.1": 100.0, "other": 9})
    client.get(f"{web.url}/faults/500,times=1/{POSTS}").read()
    assert sum(pause > 50 for pause in pauses) == 2
    web.answer("/old", Response(status=301, headers={"Location": f"/{POSTS}"}))
    client.get(f"{web.url}/old").read()
    assert sum(pause > 50 for pause in pauses) == 4


# --- POST ------------------------------------------------------------------------------------


def test_a_form_is_posted_and_answered_with_json(client, web):
    web.answer("/token", lambda r: Response(json.dumps({"was": r.method, **r.form})))
    answer = client.post(f"{web.url}/token", {"grant_type": "client_credentials", "scope": "a b&c"})
    assert json.loads(answer.read()) == {"was": "POST", "grant_type": "client_credentials", "scope": "a b&c"}


def test_a_post_is_not_redirected(client, web):
    web.answer("/token", Response(status=307, headers={"Location": "/elsewhere"}))
    with pytest.raises(SourceError, match=r"redirects a POST \(307\)"):
        client.post(f"{web.url}/token", {"a": "b"})


# --- redirects and hosts ---------------------------------------------------------------------


def test_a_redirect_loop_is_named(client, web):
    with pytest.raises(SourceError, match=r"redirects in a circle: .* → .*turn=a → .*turn=b → .*turn=a"):
        client.get(f"{web.url}/faults/redirect-loop/{POSTS}")


def test_five_redirects_are_followed_and_no_more(client, web):
    for number in range(6):
        web.answer(f"/{number}", Response(status=307, headers={"Location": f"/{number + 1}"}))
    web.answer("/6", Response("[]"))
    assert client.get(f"{web.url}/1").read() == b"[]"
    with pytest.raises(SourceError, match="more than 5 times"):
        client.get(f"{web.url}/0")


def test_a_redirect_off_the_declared_hosts_is_not_followed(client, web):
    with pytest.raises(SourceError, match=r"redirects to https://elsewhere\.example\.com/collect"):
        client.get(f"{web.url}/faults/redirect-away/{POSTS}")


def test_headers_meant_for_one_host_are_not_sent_to_another(client, web):
    seen = []
    with serving(lambda e, s: seen.append(Request(e)) or Response("[]")(e, s)) as other:
        web.answer("/move", Response(status=302, headers={"Location": f"{other}/"}))
        client.get(f"{web.url}/move", headers={"Authorization": "Bearer abcdef"}).read()
    assert web.requests[0].headers["Authorization"] == "Bearer abcdef"
    assert "Authorization" not in seen[0].headers


@pytest.mark.parametrize(
    ("hosts", "url", "message"),
    [
        (["api.example.com"], "https://example.com/", "none of the hosts"),
        (["api.example.com"], "https://api.example.com.evil.example/", "none of the hosts"),
        (["api.example.com"], "https://api.example.com:8443/", "none of the hosts"),
        (["api.example.com"], "https://api.example.com@evil.example/", "password"),
        (["api.example.com"], "http://api.example.com/", "only https"),
        (["127.0.0.1:1"], "http://127.0.0.1:2/", "none of the hosts"),
        ([], "https://api.example.com/", "declared are none"),
        (["api.example.com"], "file:///etc/passwd", "only http and https"),
        (["api.example.com"], "ftp://api.example.com/", "only http and https"),
        (["api.example.com"], "https://[api/", "not a URL"),
    ],
)
def test_only_declared_hosts_are_contacted_and_by_https(hosts, url, message):
    with pytest.raises(SourceError, match=message):
        Client(hosts, Settings()).get(url)


@pytest.fixture
def names(monkeypatch):
    """Every name below example.org is this computer."""
    found = socket.getaddrinfo

    def lookup(host, *arguments, **options):
        return found("127.0.0.1" if str(host).endswith(".example.org") else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)


def test_plain_http_is_used_for_a_url_that_the_user_gave(web, names):
    host = f"data.example.org:{web.url.rpartition(':')[2]}"
    web.answer("/a.csv", Response("x\n1\n"))
    assert Client([host], Settings(), named_by_user=True).get(f"http://{host}/a.csv", json=False).read() == b"x\n1\n"
    with pytest.raises(SourceError, match="only https"):
        Client([host], Settings()).get(f"http://{host}/a.csv", json=False)


def test_a_url_that_the_user_gave_is_followed_to_another_host_by_https_alone(web, names, tmp_path, monkeypatch):
    certificate, key = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    host = f"data.example.org:{web.url.rpartition(':')[2]}"
    client = Client([host], Settings(), named_by_user=True)
    with serving(Response("x\n1\n"), ssl_context=context) as storage:
        web.answer("/a.csv", Response(status=302, headers={"Location": f"{storage}/a.csv"}))
        assert client.get(f"http://{host}/a.csv", json=False).read() == b"x\n1\n"
        with pytest.raises(SourceError, match="none of the hosts"):
            client.get(f"{storage}/a.csv", json=False)
    web.answer("/b.csv", Response(status=302, headers={"Location": "http://169.254.169.254/b.csv"}))
    with pytest.raises(SourceError, match=r"redirects to http://169\.254\.169\.254/b\.csv: .* none of the hosts"):
        client.get(f"http://{host}/b.csv", json=False)


def test_a_redirect_from_https_to_plain_http_is_not_followed(names, tmp_path, monkeypatch):
    certificate, key = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    answer = Response(status=302, headers={"Location": "http://data.example.org/a.csv"})
    with serving(answer, ssl_context=context) as url, pytest.raises(SourceError, match="only https"):
        client = Client([url.removeprefix("https://"), "data.example.org"], Settings(), named_by_user=True)
        client.get(f"{url}/a.csv", json=False)


def test_a_certificate_that_cannot_be_verified_is_final(tmp_path, sleeps):
    certificate, key = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    client = Client(["127.0.0.1"], Settings(), sleep=sleeps.append)
    with serving(Response("[]"), ssl_context=context) as url, pytest.raises(SourceError, match="certificate of 127"):
        client.get(url)
    assert sleeps == []


def test_a_certificate_of_a_trusted_authority_is_accepted(tmp_path, monkeypatch):
    certificate, key = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with serving(Response("[1]"), ssl_context=context) as url:
        assert Client(["127.0.0.1"], Settings()).get(url).read() == b"[1]"


def self_signed(folder, *names):
    """Files with a certificate for 127.0.0.1 and `names`, and its key."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1")), *map(x509.DNSName, names)]),
            False,
        )
        # what the stricter verification of Python 3.13 asks of an authority
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), False)
        .add_extension(x509.KeyUsage(True, False, False, False, False, True, True, False, False), True)
        .sign(key, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


# --- the sample API in the place of the real hosts -------------------------------------------


def test_live_hosts_are_asked_by_https():
    client = Client(["api.example.com"], Settings(sources_url="live"))
    assert client.url_of("api.example.com", "/v1/x") == "https://api.example.com/v1/x"


def test_the_sample_api_stands_in_for_every_host(web):
    client = Client(["jsonplaceholder.typicode.com"], Settings(sources_url=web.url + "/"))
    url = client.url_of("jsonplaceholder.typicode.com", "/posts")
    assert url == f"{web.url}/{POSTS}"
    assert client.get(url).status == 200


def test_a_mistyped_sample_url_is_a_configuration_error():
    with pytest.raises(ConfigurationError, match="SLUICE_SOURCES_URL is 'life'"):
        Client([], Settings(sources_url="life"))


# --- pages and secrets -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ('</x?p=1>; rel="first", </x?p=3,4>; rel="next"', "/x?p=3,4"),
        ("</x?p=2>; title=a; rel=next", "/x?p=2"),
        ('</x?p=2>; rel="last next"', "/x?p=2"),
        ('</x?p=1>; rel="prev"', None),
        ('</x?p=1>; rel="nextish"', None),
        ("", None),
    ],
)
def test_the_link_header_names_the_next_page(client, web, link, expected):
    web.answer("/x", Response("[]", headers={"Link": link} if link else {}))
    found = client.get(f"{web.url}/x").next_url
    assert found == (expected and web.url + expected)


def test_the_next_page_on_another_host_is_an_error(client, web):
    web.answer("/x", Response("[]", headers={"Link": '<https://elsewhere.example.com/x>; rel="next"'}))
    with pytest.raises(SourceError, match="another host, elsewhere"):
        _ = client.get(f"{web.url}/x").next_url


def test_the_next_page_keeps_the_scheme_of_this_one(client, web):
    other = web.url.replace("http:", "https:")
    web.answer("/x", Response("[]", headers={"Link": f'<{other}/x?p=2>; rel="next"'}))
    assert client.get(f"{web.url}/x").next_url == f"{web.url}/x?p=2"


@pytest.mark.parametrize(
    "path", ["/echo", f"/faults/500/{POSTS}", f"/faults/html/{POSTS}", f"/faults/truncated/{POSTS}"]
)
def test_secrets_never_appear_in_messages(client, web, path):
    web.answer("/echo", lambda r: Response(f"bad {r.url} {r.headers['Authorization']}", status=403))
    secrets = {"api_key": "k-123456", "access_token": "t 123456", "X-Amz-Signature": "s123456"}
    with pytest.raises((SourceError, SourceUnavailable)) as raised:
        client.get(
            web.url + path, params={"city": "Oslo", **secrets}, headers={"Authorization": "Bearer h123456"}
        ).read()
    text = str(raised.value)
    assert "city=Oslo" in text and "api_key=***" in text
    assert "123456" not in text


def test_nothing_is_left_running_when_a_body_is_given_up(client, web):
    before = threading.active_count()
    for _ in range(5):
        client.get(f"{web.url}/{POSTS}").stream().close()
        client.get(f"{web.url}/{POSTS}").close()
        client.get(f"{web.url}/{POSTS}").read()
        client.get(f"{web.url}/{POSTS}")
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before
