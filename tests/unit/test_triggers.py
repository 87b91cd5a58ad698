"""A trigger's name is the same for the same trigger, another for another one, and one that Step Functions takes."""

import contextlib
import datetime as dt
import json
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chalicelib.errors import ContractError, SourceError, UnknownSource
from chalicelib.lake import keys
from chalicelib.lake.inbox_object import InboxObject
from chalicelib.run_input import RunInput
from chalicelib.triggers import Trigger, inbox, messages
from chalicelib.triggers.attempts import ATTEMPTS
from chalicelib.triggers.trigger import backfill, scheduled
from statemachine import render

NAMES = re.compile(r"[A-Za-z0-9_-]{1,80}")
KINDS = ("schedule", "inbox", "queue", "api", "backfill")
IDENTITIES = st.text(min_size=1, max_size=120)
SOURCES = st.from_regex(r"[a-z][a-z0-9_]{0,100}", fullmatch=True)


@given(st.sampled_from(KINDS), SOURCES, IDENTITIES)
@example("queue", "posts", "order 7/ü")
@example("api", "s" * 101, "7")
def test_a_name_and_all_its_attempts_are_names_of_executions(kind, source, identity):
    trigger = Trigger(kind, source, identity)
    for number in (1, 2, ATTEMPTS):
        assert NAMES.fullmatch(trigger.attempt(number))
    assert trigger.name == Trigger(kind, source, identity).name


@given(st.tuples(st.sampled_from(KINDS), SOURCES, IDENTITIES), st.tuples(st.sampled_from(KINDS), SOURCES, IDENTITIES))
@example(("queue", "posts", "a"), ("queue", "posts", "a-2"))
@example(("queue", "posts", "a b"), ("queue", "posts", "a-b"))
@example(("queue", "posts", "a" * 100), ("queue", "posts", "a" * 101))
def test_two_triggers_never_have_a_name_in_common_not_even_of_a_later_attempt(one, other):
    if one == other:
        return
    attempts = [{Trigger(*each).attempt(number) for number in range(1, ATTEMPTS + 1)} for each in (one, other)]
    assert not attempts[0] & attempts[1]


def test_names_are_readable_where_they_can_be():
    assert scheduled("weather", "2026-11-21T13:00:00Z").name == "weather-s20261121T130000Z"
    assert Trigger("queue", "posts", "order-2026-11-21T13").name == "posts-qorder-2026-11-21T13"
    name = inbox.trigger(InboxObject("lake", "inbox/files/orders of today.toml", "v1", 10)).name
    assert re.fullmatch(r"files-i-orders-of-today-toml-[0-9a-f]{16}", name)


def test_a_backfills_window_has_one_name_and_says_its_days():
    first, last = dt.date(2014, 1, 1), dt.date(2014, 1, 7)
    window = backfill("weather", 12, first, last, None, None, 4)
    assert (window.name, window.attempt(2)) == ("weather-b12-20140101-20140107", "weather-b12-20140101-20140107-2")
    assert window.run_input() == {
        "source": "weather",
        "from": "2014-01-01",
        "to": "2014-01-07",
        "runs_at_once": 4,
        "gather_warnings": True,
        "trigger": "backfill 12, 2014-01-01 to 2014-01-07",
    }
    part = backfill("weather", 13, first, last, "Oslo", True, None)
    assert (part.run_input()["embed"], part.run_input()["input"]) == (True, "Oslo")
    # the options of the command that goes on with it are not in the name
    assert part.name == backfill("weather", 13, first, last, "Oslo", None, 9).name


@given(SOURCES, st.integers(1, 2**63 - 1), st.integers(1, 2**63 - 1))
def test_windows_of_two_backfills_never_have_a_name_in_common(source, one, other):
    first, last = dt.date(2014, 1, 1), dt.date(2014, 1, 7)
    names = {backfill(source, number, first, last, None, None, None).attempt(ATTEMPTS) for number in (one, other)}
    assert all(NAMES.fullmatch(name) for name in names)
    assert len(names) == len({one, other})


def test_a_time_is_the_same_in_whichever_zone_it_is_written():
    here, there = scheduled("weather", "2026-11-21T08:00:00-05:00"), scheduled("weather", "2026-11-21T13:00:00Z")
    assert here == there
    assert here.text == "schedule 2026-11-21T13:00:00Z"


@pytest.mark.parametrize(
    "time", ["", "tomorrow", "2026-11-21", "2026-11-21T13:00:00", "<aws.scheduler.scheduled-time>"]
)
def test_a_time_that_is_none_or_of_no_zone_is_refused(time):
    with pytest.raises(ContractError, match="scheduled is"):
        scheduled("weather", time)


def test_the_input_of_the_run_says_what_started_it_and_is_a_contract():
    trigger = Trigger("queue", "posts", "7", input="post", embed=False)
    assert trigger.run_input() == {"source": "posts", "input": "post", "embed": False, "trigger": "queue 7"}
    assert RunInput.from_json(trigger.run_input()).trigger == "queue 7"


def test_the_error_of_a_rejected_run_is_the_machines_own():
    from chalicelib.triggers import starting

    states = render.definition()["States"]
    [fail] = [states[states[name]["Next"]] for name in ("DeadLetterQuality",)]
    assert (fail["Type"], fail["Error"]) == ("Fail", starting.REJECTED)


# --- the queue's messages ----------------------------------------------------------------------


def read(document, message_id="m-1"):
    return messages.read(document if isinstance(document, str) else json.dumps(document), message_id, "lake")


def notified(key="inbox/files/a.toml", bucket="lake", event="ObjectCreated:Put", **about):
    about = {"key": key, "size": 12, "eTag": "e1", **about}
    return {"eventName": event, "s3": {"bucket": {"name": bucket}, "object": about}}


def test_a_message_of_our_own_is_known_by_its_id_or_by_the_queues():
    body = {"source": "posts", "from": "2026-01-01", "to": "2026-01-02", "input": "post", "embed": True}
    [trigger] = read({**body, "id": "order-7"})
    assert (trigger.kind, trigger.identity, trigger.start, trigger.end) == (
        "queue",
        "order-7",
        "2026-01-01",
        "2026-01-02",
    )
    assert (trigger.input, trigger.embed) == ("post", True)
    assert read(body)[0].identity == "m-1"


def test_s3s_test_message_asks_for_nothing():
    assert read({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "lake"}) == []


def test_all_records_of_a_notification_are_read_and_their_keys_decoded():
    keys = {
        "inbox/orders/my+day.csv": "inbox/orders/my day.csv",
        "inbox/orders/caf%C3%A9%2B1.csv": "inbox/orders/café+1.csv",
    }
    found = read({"Records": [notified(key) for key in keys]})
    assert [each.key for each in found] == list(keys.values())


def test_a_version_tells_two_objects_of_one_content_apart_and_an_etag_does_where_there_is_none():
    def version(**about):
        return read({"Records": [notified(**about)]})[0].version

    assert version(versionId="v1") == "v1"
    assert version() == version(versionId="null") == "e1"


MALFORMED = {
    "no JSON": '{"source": ',
    "an array": [],
    "half a surrogate pair": '{"source": "posts", "id": "\\ud800"}',
    "a NUL": '{"source": "posts", "input": "a\\u0000"}',
    "lists in lists in lists": "[" * 100_000,
    "no source": {},
    "an empty source": {"source": 1},
    "a field that is not known": {"source": "posts", "form": "2026-01-01"},
    "a trigger of its own": {"source": "posts", "trigger": "schedule"},
    "an id that is no text": {"source": "posts", "id": 7},
    "an empty id": {"source": "posts", "id": ""},
    "no records": {"Records": []},
    "records that are no objects": {"Records": ["a"]},
    "a record without an object": {"Records": [{"eventName": "ObjectCreated:Put"}]},
    "a key that is not UTF-8": {"Records": [notified(key="inbox/files/%ff.toml")]},
    "a removal": {"Records": [notified(event="ObjectRemoved:Delete")]},
    "another bucket": {"Records": [notified(bucket="theirs")]},
    "a key outside of the inbox": {"Records": [notified(key="raw/a.toml")]},
    "a schedule with more": {"source": "weather", "scheduled": "2026-11-21T13:00:00Z", "from": "2026-01-01"},
    "a schedule of no time": {"source": "weather", "scheduled": None},
}


@pytest.mark.parametrize("document", MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_message_is_refused(document):
    with pytest.raises(ContractError):
        read(document)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    ["Records", "s3", "eventName", "source", "scheduled", "id", "Event", "bucket", "object"]
                ),
                inner,
            )
        ),
        max_leaves=12,
    )
)
def test_whatever_json_a_message_is_it_is_read_or_refused(document):
    with contextlib.suppress(ContractError):
        read(document)


# --- the inbox ---------------------------------------------------------------------------------


def test_an_object_in_a_sources_folder_is_a_run_of_that_object():
    trigger = inbox.trigger(InboxObject("lake", "inbox/files/2026/a.toml", "v1", 10))
    assert (trigger.source, trigger.input) == ("files", "s3://lake/inbox/files/2026/a.toml")
    assert trigger.text == "inbox s3://lake/inbox/files/2026/a.toml"


def test_another_version_of_an_object_is_another_trigger():
    names = {
        inbox.trigger(InboxObject("lake", "inbox/files/a.toml", version, 10)).name for version in ("v1", "v1", "v2")
    }
    assert len(names) == 2


@pytest.mark.parametrize(
    "key", ["inbox/", "inbox/files/", "inbox/nobody/", "inbox/orders.csv", "inbox/files/beside.csv"]
)
def test_folders_and_what_lies_in_no_sources_folder_or_beside_a_declaration_ask_for_nothing(key):
    assert inbox.trigger(InboxObject("lake", key, "v1", 0 if key.endswith("/") else 10)) is None


@pytest.mark.parametrize(("key", "error"), [("inbox/nobody/a.csv", UnknownSource), ("inbox/posts/a.csv", SourceError)])
def test_a_folder_of_no_source_or_of_one_that_reads_no_files_is_refused(key, error):
    with pytest.raises(error):
        inbox.trigger(InboxObject("lake", key, "v1", 10))


DIGEST = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("given", "collected"),
    [
        (f"s3://lake/{keys.collected('orders', DIGEST)}", True),
        (f"s3://other/{keys.collected('orders', DIGEST)}", False),
        (f"s3://lake/inbox/orders/2026/webhook-{DIGEST}.ndjson", False),
        (f"s3://lake/inbox/orders/webhook-{DIGEST}.csv", False),
        ("s3://lake/inbox/orders/", False),
        (None, False),
    ],
)
@pytest.mark.parametrize("trigger", [None, "inbox s3://lake/x"])
def test_collected_events_are_known_by_the_key_whoever_runs_them(given, collected, trigger):
    assert inbox.is_collected(RunInput("orders", input=given, trigger=trigger), "lake") == collected
