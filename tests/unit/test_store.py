"""What the failures of S3 mean to a run: what may pass is tried again, what is wrong on this side is told at once."""

import base64
import http.server
import threading
import zlib
from typing import ClassVar

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import NoCredentialsError

from chalicelib.errors import ConfigurationError, LakeUnavailable
from chalicelib.lake import store
from chalicelib.lake.store import Lake


class BreaksOff(http.server.BaseHTTPRequestHandler):
    """Promises a thousand bytes of any object, and hangs up after ten; of a list before the first."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        if "list-type" not in self.path:
            self.wfile.write(b"0123456789")

    def log_message(self, *_):
        pass


def lake_at(port: int, **config) -> Lake:
    client = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="eu-central-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
        config=Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"}, **config),
    )
    return Lake("lake", client)


@pytest.fixture
def broken():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), BreaksOff)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield lake_at(server.server_port)
    server.shutdown()
    server.server_close()


def test_a_list_that_breaks_off_is_not_taken_for_an_empty_one(broken):
    with pytest.raises(LakeUnavailable, match="s3://lake/raw/"):
        broken.keys("raw/")


def test_an_object_that_breaks_off_while_it_is_read_may_be_read_again(broken):
    with pytest.raises(LakeUnavailable, match="s3://lake/orders"):
        broken.get("orders")
    for size in (4, 5000, None):
        stream = broken.open("orders")
        with pytest.raises(LakeUnavailable, match="s3://lake/orders"):
            while stream.read(size):
                pass
        stream.close()


class Takes(http.server.BaseHTTPRequestHandler):
    """Takes any object, and keeps the headers that it came with."""

    headers_seen: ClassVar[list[dict[str, str]]] = []

    def do_PUT(self):
        self.headers_seen.append({name.lower(): value for name, value in self.headers.items()})
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_a_body_is_sent_with_its_crc_alone_over_http_as_over_https(monkeypatch):
    """The signature of a body is a SHA-256 of it, which botocore adds over http, and leaves out over https."""
    server = http.server.HTTPServer(("127.0.0.1", 0), Takes)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    client = boto3.client("s3", region_name="eu-central-1", config=store._CONFIG)
    Lake("lake", client).put("orders", b"rows")
    server.shutdown()
    server.server_close()
    [headers] = Takes.headers_seen
    assert headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
    assert base64.b64decode(headers["x-amz-checksum-crc32"]) == zlib.crc32(b"rows").to_bytes(4, "big")


def test_nobody_at_the_address_may_pass():
    with pytest.raises(LakeUnavailable, match="could not be reached"):
        lake_at(1).get("orders")


def test_a_bucket_that_cannot_be_one_will_not_pass():
    with pytest.raises(ConfigurationError, match="Invalid bucket name"):
        lake_at(1).open("orders", bucket="No Bucket!")


def test_credentials_that_are_missing_will_not_pass():
    class Client:
        def get_object(self, **_):
            raise NoCredentialsError

    with pytest.raises(ConfigurationError, match="credentials"):
        Lake("lake", Client()).get("orders")
