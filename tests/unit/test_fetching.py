"""FetchPartition: its client keeps the source's limits, and `live` reaches the real hosts and no sample."""

import socket
import ssl

import pytest
from loopback import serving
from memory_s3 import MemoryS3
from test_http import self_signed
from werkzeug.wrappers import Request, Response

from chalicelib import settings, sources
from chalicelib.contracts import FetchPartitionRequest, Partition
from chalicelib.errors import DeclarationError, SourceUnavailable
from chalicelib.http import Client
from chalicelib.lake.store import Lake
from chalicelib.settings import Settings
from chalicelib.sources.base import Page, Source
from chalicelib.stages import fetch_partition as stage

HOST = "api.sluice.test"


class Tides(Source):
    name = "tides"
    key = ("id",)
    columns = sources.get("posts").columns[1:2]
    hosts = (HOST, "127.0.0.1")

    def pages(self, request, client, settings):
        yield Page(client.get(client.url_of(HOST, "/tides")).stream(), "response")


@pytest.fixture
def fetch(monkeypatch):
    """fetch(live=…): the raw objects that a partition of Tides leaves, where the sample API says []."""
    lake = Lake("bucket", MemoryS3())
    monkeypatch.setattr(stage, "Lake", lambda bucket: lake)
    monkeypatch.setattr(sources, "as_declared", lambda *_: Tides())

    def fetched(live, sources_url):
        monkeypatch.setattr(settings, "current", lambda: Settings(bucket="bucket", sources_url=sources_url))
        before = set(lake.client.objects)
        stage.fetch_partition(FetchPartitionRequest("r", "tides", Partition(0, {}, live)))
        return [body for key, body in lake.client.objects.items() if key.startswith("raw/") and key not in before]

    return fetched


@pytest.fixture
def internet(monkeypatch, tmp_path):
    """A server that is api.sluice.test for this process: by name, port 443 and a certificate of a trusted authority."""
    certificate, key = self_signed(tmp_path, HOST)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    found, seen = socket.getaddrinfo, []

    @Request.application
    def real(request):
        seen.append(request.host)
        return Response('[{"id": 1}]')

    with serving(real, ssl_context=context) as url:
        port = int(url.rpartition(":")[2])

        def lookup(host, service, *arguments, **options):
            elsewhere = (host, service) == (HOST, 443)
            return found(*(("127.0.0.1", port) if elsewhere else (host, service)), *arguments, **options)

        monkeypatch.setattr(socket, "getaddrinfo", lookup)
        yield seen


def test_live_asks_the_sources_own_host_where_a_sample_stands_in_otherwise(fetch, internet):
    with serving(Response("[]")) as sample:
        assert fetch(live=False, sources_url=sample) == [b"[]"]
        assert internet == []
        assert fetch(live=True, sources_url=sample) == [b'[{"id": 1}]']
    assert internet == [HOST]


def test_offline_live_says_that_the_host_cannot_be_found(fetch, monkeypatch):
    def offline(host, *arguments, **options):
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", offline)
    monkeypatch.setattr("chalicelib.http_patience.BACKOFF_SECONDS", 0)
    with pytest.raises(SourceUnavailable) as raised:
        fetch(live=True, sources_url="http://127.0.0.1:9")
    assert f"url=https://{HOST}/tides" in str(raised.value)
    assert "Temporary failure in name resolution" in str(raised.value)
    assert "leave out --live" in str(raised.value)


@pytest.mark.parametrize(
    ("limits", "at_once", "seconds"),
    [
        ({}, 4, {}),
        ({HOST: 10}, 4, {HOST: 0.4}),
        ({HOST: 2}, 2, {HOST: 1.0}),
        ({HOST: 0.5}, 1, {HOST: 2.0}),
        ({HOST: 3, "127.0.0.1": 8}, 3, {HOST: 1.0, "127.0.0.1": 0.375}),
    ],
)
def test_partitions_at_the_same_time_share_the_limit_of_a_host(limits, at_once, seconds):
    source = type("Limited", (Tides,), {"requests_per_second": limits})()
    source.check()
    assert source.concurrency(Settings()) == at_once
    assert source.seconds_between(Settings()) == seconds
    # whatever runs at once, together they ask no more often than the host takes
    assert all(at_once / pause <= limits[host] + 1e-9 for host, pause in seconds.items())


@pytest.mark.parametrize("runs", [2, 4, 7, 50])
@pytest.mark.parametrize("limit", [0.5, 1, 5, 10, 600])
def test_runs_at_the_same_time_share_the_limit_of_a_host(limit, runs):
    source = type("Limited", (Tides,), {"requests_per_second": {HOST: limit}})()
    at_once = source.concurrency(Settings(), runs)
    assert 1 <= at_once <= Settings().fetch_concurrency
    # each partition of each run asks once in so many seconds
    assert runs * at_once / source.seconds_between(Settings(), runs)[HOST] <= limit + 1e-9


@pytest.mark.parametrize("limits", [{"elsewhere.example.com": 1}, {HOST: 0}, {HOST: -1}, {HOST: float("inf")}])
def test_a_limit_must_be_one_of_a_declared_host(limits):
    source = type("Limited", (Tides,), {"requests_per_second": limits})()
    with pytest.raises(DeclarationError, match="requests_per_second of"):
        source.check()


def test_a_partitions_client_keeps_the_limit_and_reads_the_sources_words(web_pauses):
    source = type(
        "Limited",
        (Tides,),
        {"requests_per_second": {"127.0.0.1": 0.5}, "asked_wait": lambda self, reason: 7.0 if reason == "a bit" else 0},
    )()
    answers = iter([Response('{"error": "a bit"}', 429), Response("[]"), Response("[]")])
    with serving(lambda e, s: next(answers)(e, s)) as url:
        client = Client.of(source, Settings())
        assert client.get(url).read() == b"[]"
        assert Client.of(source, Settings(), runs_at_once=3).get(url).read() == b"[]"
    assert web_pauses[:2] == [2.0, 7.0]
    assert web_pauses[-1] == 6.0  # three runs at once: each asks a third as often


@pytest.fixture
def web_pauses(monkeypatch):
    pauses = []
    defaults = Client.__init__.__defaults__
    monkeypatch.setattr(Client.__init__, "__defaults__", (pauses.append, *defaults[1:]))
    return pauses
