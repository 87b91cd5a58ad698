"""Webhooks: what is accepted, what is refused in which order, and what stands in a body."""

import hashlib
import hmac
import json
import string
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import secrets, settings, sources, telemetry
from chalicelib.columns import Column
from chalicelib.errors import LakeUnavailable, RequestRefused
from chalicelib.sources.files import FileSource
from chalicelib.sources.posts import Posts
from chalicelib.webhooks import intake, signature
from chalicelib.webhooks.body import events

SECRET, OLD = "a-secret-of-some-length", "the-one-before-that-one"
NOW = 1_790_000_000
BODY = b'[{"id": 1}, {"id": 2}]'


class Orders(FileSource):
    name = "orders"
    key = ("id",)
    columns = (Column("id", "bigint"),)


class Undeclared(FileSource):
    name = "undeclared"
    key = ()
    columns = ()


class Kept:
    """A lake that has what was put, or is out of reach."""

    def __init__(self, unavailable=False):
        self.objects, self.unavailable = {}, unavailable

    def put_new(self, key, body, content_type, metadata):
        if self.unavailable:
            raise LakeUnavailable
        if key in self.objects:
            return False
        self.objects[key] = (body, metadata)
        return True


@pytest.fixture(autouse=True)
def known(monkeypatch):
    registered = {"orders": Orders(), "plain": Orders(), "undeclared": Undeclared(), "posts": Posts()}
    monkeypatch.setattr(sources, "names", lambda: tuple(registered))
    monkeypatch.setattr(sources, "get", registered.__getitem__)
    tokens = {
        "webhook:orders": f"{SECRET} {OLD}",
        "webhook:posts": SECRET,
        "webhook:undeclared": SECRET,
        "webhook:gone": SECRET,
    }
    monkeypatch.setenv("SLUICE_TOKENS", json.dumps(tokens))
    monkeypatch.delenv("SLUICE_TOKENS_SECRET_ARN", raising=False)
    settings.current.cache_clear()
    yield
    settings.current.cache_clear()


def headers(body=BODY, secret=SECRET, timestamp=NOW, delivery="d-1"):
    return {
        signature.TIMESTAMP: str(timestamp),
        signature.DELIVERY: delivery,
        signature.SIGNATURE: signature.sign(secret, str(timestamp), delivery, body),
    }


def refusal(lake=None, source="orders", body=BODY, now=NOW, given=None):
    lake = Kept() if lake is None else lake
    before = dict(lake.objects)
    with pytest.raises(RequestRefused) as refused:
        intake.take_in(lake, source, headers(body) if given is None else given, body, now)
    assert lake.objects == before
    assert SECRET not in str(refused.value)
    return refused.value.where["status"], refused.value.where["reason"]


def test_the_signature_is_what_the_documentation_says():
    made = hmac.new(SECRET.encode(), b"1790000000.d-1." + BODY, hashlib.sha256).hexdigest()
    assert headers()[signature.SIGNATURE] == f"sha256={made}"


@pytest.mark.parametrize("secret", [SECRET, OLD])
def test_a_signed_delivery_is_kept_as_it_came_under_its_id(secret):
    lake = Kept()
    assert intake.take_in(lake, "orders", headers(secret=secret), BODY, NOW + 299) == "d-1"
    assert lake.objects == {"webhooks/orders/d-1.json": (BODY, {"timestamp": str(NOW)})}


def test_the_same_delivery_again_is_a_conflict_also_signed_anew_and_by_another_secret():
    lake = Kept()
    intake.take_in(lake, "orders", headers(), BODY, NOW)
    assert refusal(lake) == (409, "replayed")
    assert refusal(lake, now=NOW + 60, given=headers(timestamp=NOW + 60, secret=OLD)) == (409, "replayed")


def test_a_replay_after_midnight_meets_the_original():
    lake, midnight = Kept(), NOW - NOW % 86400
    given = headers(timestamp=midnight - 1)
    intake.take_in(lake, "orders", given, BODY, midnight - 1)
    assert refusal(lake, now=midnight + 200, given=given) == (409, "replayed")
    anew = headers(timestamp=midnight + 86400)
    assert refusal(lake, now=midnight + 86400, given=anew) == (409, "replayed")


@pytest.mark.parametrize("source", ["nothing", "plain", "posts", "undeclared", "gone", "../orders", ""])
def test_whatever_takes_no_webhooks_is_answered_alike_whoever_asks(source):
    found = {refusal(source=source), refusal(source=source, given={}), refusal(source=source, body=b"x" * 300_000)}
    assert found == {(404, "no such webhook")}


@pytest.mark.parametrize("age", [301, -301, 10**9, -(10**9)])
def test_a_time_stamp_outside_the_window_is_stale(age):
    assert refusal(given=headers(timestamp=NOW - age)) == (401, "stale")


@pytest.mark.parametrize("name", [signature.TIMESTAMP, signature.DELIVERY, signature.SIGNATURE])
@pytest.mark.parametrize(
    "value", [None, "", " ", "\u0661\u0662", "x" * 65, "sha256=", "sha256=" + "g" * 64, "-1", "a/b"]
)
def test_a_header_that_is_missing_or_of_another_form_is_not_signed(name, value):
    changed = {key: each for key, each in {**headers(), name: value}.items() if each is not None}
    if name == signature.DELIVERY and value == "-1":
        assert refusal(given=changed) == (401, "forged")
    else:
        assert refusal(given=changed) == (401, "not signed")


@pytest.mark.parametrize(
    "given",
    [
        headers(secret="another-secret-altogether"),
        headers(body=BODY + b" "),
        {**headers(), signature.DELIVERY: "d-2"},
        {**headers(), signature.TIMESTAMP: str(NOW + 1)},
        headers(secret=""),
        headers(secret=f"{SECRET} {OLD}"),
    ],
)
def test_a_signature_over_anything_else_or_by_anybody_else_is_forged(given):
    assert refusal(given=given) == (401, "forged")


def test_a_body_may_have_200_kb_and_not_a_byte_more():
    fits = b'{"x": "' + b"a" * (intake.LARGEST - 9) + b'"}'
    assert len(fits) == intake.LARGEST == 200_000
    intake.take_in(Kept(), "orders", headers(fits), fits, NOW)
    assert refusal(body=fits + b" ") == (413, "too large")


@pytest.mark.parametrize(
    "body", [b"", b"id=1", b"[]", b"[1]", b'"text"', b"{} {}", b'{"a": NaN}', b"\xff", b"[" * 99_999]
)
def test_a_body_without_events_is_refused_and_not_kept(body):
    assert refusal(body=body) == (400, "not events")


def test_nothing_is_refused_for_good_while_s3_does_not_answer():
    with pytest.raises(LakeUnavailable):
        intake.take_in(Kept(unavailable=True), "orders", headers(), BODY, NOW)


def test_a_body_that_was_not_utf8_is_told_so_also_after_api_gateway_replaced_its_bytes():
    body = '{"id": "caf\u00e9"}'.encode("latin-1")
    given = headers(body=body)
    for arrived in (body, body.decode(errors="replace").encode()):
        with pytest.raises(RequestRefused, match="UTF-8") as refused:
            intake.take_in(Kept(), "orders", given, arrived, NOW)
        assert refused.value.where["status"] == 400
    right = '{"id": "\ufffd"}'.encode()
    assert intake.take_in(Kept(), "orders", headers(body=right), right, NOW) == "d-1"


def test_a_secret_that_is_no_text_opens_nothing(monkeypatch):
    monkeypatch.setattr(secrets, "_secret", secrets.functools.cache(lambda arn: '{"webhook:orders": 12}'))
    monkeypatch.delenv("SLUICE_TOKENS")
    monkeypatch.setenv("SLUICE_TOKENS_SECRET_ARN", "arn:of:tokens")
    settings.current.cache_clear()
    assert secrets.of_webhook("orders") == ()


def test_a_secret_that_could_be_guessed_opens_nothing_and_the_log_says_so_once(monkeypatch, capsys):
    kept = json.dumps({"webhook:orders": f"guessed {SECRET}", "webhook:payments": "guessed"})
    monkeypatch.setattr(secrets, "_secret", secrets.functools.cache(lambda arn: kept))
    monkeypatch.delenv("SLUICE_TOKENS")
    monkeypatch.setenv("SLUICE_TOKENS_SECRET_ARN", "arn:of:tokens")
    settings.current.cache_clear()
    secrets._tell_of_short.cache_clear()
    for handler in telemetry.logger.handlers:  # it keeps the stream that it was made with
        monkeypatch.setattr(handler, "stream", sys.stdout)
    for _ in range(2):
        assert (secrets.of_webhook("orders"), secrets.of_webhook("payments")) == ((SECRET,), ())
    logged = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["level"], line["source"]) for line in logged] == [("ERROR", "orders"), ("ERROR", "payments")]
    assert "guessed" not in json.dumps(logged)


def test_secrets_are_looked_up_anew_after_a_while(monkeypatch):
    fetched = []

    def fetch(arn):
        fetched.append(arn)
        return json.dumps({"webhook:orders": f"secret-number-{len(fetched)}-long"})

    cached = secrets.functools.cache(fetch)
    clock = iter([1000, 1001, 1000 + secrets.RENEW_SECONDS + 1, 1000 + secrets.RENEW_SECONDS + 1])
    monkeypatch.setattr(secrets, "_secret", cached)
    monkeypatch.setattr(secrets, "_looked_up", 999)
    monkeypatch.setattr(secrets.time, "monotonic", lambda: next(clock))
    monkeypatch.delenv("SLUICE_TOKENS")
    monkeypatch.setenv("SLUICE_TOKENS_SECRET_ARN", "arn:of:tokens")
    settings.current.cache_clear()
    found = [secrets.of_webhook("orders") for _ in range(3)]
    assert found == [("secret-number-1-long",), ("secret-number-1-long",), ("secret-number-2-long",)]


# --- bodies ----------------------------------------------------------------------------------


def test_a_number_keeps_all_its_digits_and_an_event_stands_on_one_line():
    assert events(b'[ {"a":\r\n 1.10},\n{"b": 12345678901234567890123, "c": "x\\ny"} ]\n') == [
        '{"a":   1.10}',
        '{"b": 12345678901234567890123, "c": "x\\ny"}',
    ]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=10,
)
objects = st.dictionaries(st.text(string.printable), values, max_size=4)


@given(st.lists(objects, min_size=1, max_size=4), st.sampled_from([None, 0, 2]), st.booleans())
def test_events_come_out_as_they_went_in(given, indent, ascii):
    body = json.dumps(given, indent=indent, ensure_ascii=ascii).encode("utf-8", "surrogatepass")
    try:
        body.decode()
    except UnicodeDecodeError:
        with pytest.raises(ValueError, match="UTF-8"):
            events(body)
        return
    found = events(body)
    assert [json.loads(line) for line in found] == given
    assert not any("\n" in line or "\r" in line for line in found)
    [alone] = events(json.dumps(given[0], indent=indent).encode())
    assert json.loads(alone) == given[0]
