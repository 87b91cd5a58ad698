"""Titan through boto3 itself, against a stub of Bedrock's endpoint on loopback."""

import http.server
import json
import pickle
import threading
import urllib.parse

import boto3
import numpy as np
import pytest
from botocore.config import Config

from chalicelib.embeddings.bedrock import Titan
from chalicelib.errors import ConfigurationError, EmbeddingsError, EmbeddingsUnavailable

MODEL = "amazon.titan-embed-text-v2:0"


class Stub(http.server.ThreadingHTTPServer):
    """Answers InvokeModel as documented. `failures` are served first: (status, error code, message)."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests = []  # (model id, body)
        self.failures = []
        self.max_tokens = 8192
        self.answer = None  # bytes to give instead of the documented answer

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        model = urllib.parse.unquote(self.path).removeprefix("/model/").removesuffix("/invoke")
        self.server.requests.append((model, body))
        tokens = len(body["inputText"].split())
        if self.server.failures:
            self._fail(*self.server.failures.pop(0))
        elif tokens > self.server.max_tokens:
            self._fail(
                400,
                "ValidationException",
                f"Too many input tokens. Max input tokens: {self.server.max_tokens}, "
                f"request input token count: {tokens}",
            )
        else:
            vector = _vector(body["inputText"], body["dimensions"])
            answer = {"embedding": vector, "inputTextTokenCount": tokens, "embeddingsByType": {"float": vector}}
            self._send(200, self.server.answer or json.dumps(answer).encode())

    def _fail(self, status, code, message):
        self._send(status, json.dumps({"message": message}).encode(), {"x-amzn-ErrorType": code})

    def _send(self, status, body, headers=None):
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def _vector(text, dimensions):
    """One that is of this text alone, and of length 1."""
    vector = np.random.default_rng(list(text.encode())).normal(size=dimensions)
    return (vector / np.linalg.norm(vector)).tolist()


@pytest.fixture
def stub(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Stub() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def titan(stub):
    return _titan(stub.url)


def _titan(url, attempts=1, dimensions=256):
    client = boto3.client(
        "bedrock-runtime",
        endpoint_url=url,
        region_name="eu-central-1",
        aws_access_key_id="none",
        aws_secret_access_key="none",
        config=Config(retries={"total_max_attempts": attempts, "mode": "adaptive"}, read_timeout=5),
    )
    return Titan(MODEL, dimensions, client)


def test_each_text_is_one_call_in_the_documented_format(stub, titan):
    titan.embed(["Grüße", "two"])
    assert sorted(stub.requests, key=lambda r: r[1]["inputText"]) == [
        (MODEL, {"inputText": "Grüße", "dimensions": 256, "normalize": True}),
        (MODEL, {"inputText": "two", "dimensions": 256, "normalize": True}),
    ]


def test_vectors_come_back_in_the_order_of_the_texts(titan):
    texts = [f"text {i}" for i in range(40)]
    vectors = titan.embed(texts)
    assert vectors.shape == (40, 256) and vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, [_vector(text, 256) for text in texts], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_no_texts_make_no_call(stub, titan):
    assert titan.embed([]).shape == (0, 256)
    assert stub.requests == []


def test_blank_text_is_refused_before_any_call(stub, titan):
    with pytest.raises(EmbeddingsError, match="blank text"):
        titan.embed(["fine", " \n"])
    assert stub.requests == []


def test_text_is_cut_at_50_000_characters(stub, titan):
    titan.embed(["x" * 60_000])
    assert [len(body["inputText"]) for _, body in stub.requests] == [50_000]


def test_text_of_too_many_tokens_is_halved_until_it_fits(stub, titan):
    vectors = titan.embed(["a " * 20_000])
    assert [len(body["inputText"]) for _, body in stub.requests] == [40_000, 20_000, 10_000]
    np.testing.assert_allclose(vectors[0], _vector("a " * 5_000, 256), atol=1e-6)


def test_text_that_never_fits_is_an_error_not_a_loop(stub, titan):
    stub.max_tokens = 0
    with pytest.raises(EmbeddingsError, match="Too many input tokens"):
        titan.embed(["a " * 20_000])


def test_throttling_that_passes_is_retried_by_boto(stub):
    stub.failures = [(429, "ThrottlingException", "Too many requests")]
    assert _titan(stub.url, attempts=3).embed(["text"]).shape == (1, 256)
    assert len(stub.requests) == 2


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (429, "ThrottlingException"),
        (503, "ServiceUnavailableException"),
        (408, "ModelTimeoutException"),
        (429, "ModelNotReadyException"),
        (424, "ModelErrorException"),
        (500, "InternalServerException"),
        (502, "BadGateway"),
    ],
)
def test_what_may_pass_is_unavailable(stub, titan, status, code):
    stub.failures = [(status, code, "not now")]
    with pytest.raises(EmbeddingsUnavailable, match="not now"):
        titan.embed(["text"])


@pytest.mark.parametrize(
    ("status", "code", "message", "next_step"),
    [
        (403, "AccessDeniedException", "You don't have access to the model", "request access"),
        (400, "ValidationException", "The provided model identifier is invalid.", "SLUICE_BEDROCK_MODEL"),
        (404, "ResourceNotFoundException", "Could not resolve the foundation model", "SLUICE_BEDROCK_MODEL"),
        (403, "UnrecognizedClientException", "The security token is invalid", "credentials"),
    ],
)
def test_a_refusal_says_what_to_do(stub, titan, status, code, message, next_step):
    stub.failures = [(status, code, message)]
    with pytest.raises(EmbeddingsError, match=message) as raised:
        titan.embed(["text"])
    assert next_step in raised.value.next_step
    assert f"model={MODEL}/256" in str(raised.value)
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)


def test_an_endpoint_that_is_not_there_is_unavailable(stub):
    with Stub() as gone:
        pass
    with pytest.raises(EmbeddingsUnavailable, match="out of reach"):
        _titan(gone.url).embed(["text"])


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>",
        b"{}",
        b'{"embedding": [1, 2]}',
        b'{"embedding": "none"}',
        json.dumps({"embedding": [0] * 256}).encode(),
    ],
)
def test_an_unusable_answer_is_quoted(stub, titan, answer):
    stub.answer = answer
    with pytest.raises(EmbeddingsError, match="Bedrock's answer") as raised:
        titan.embed(["text"])
    assert repr(answer[:20])[:-1] in str(raised.value)


def test_dimensions_that_titan_does_not_have_name_those_it_has():
    with pytest.raises(ConfigurationError, match="256, 512, 1024"):
        Titan(MODEL, 384)


def test_a_missing_region_is_a_matter_of_configuration(monkeypatch, tmp_path):
    for variable in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    with pytest.raises(ConfigurationError, match="region"):
        Titan(MODEL, 256).embed(["text"])
