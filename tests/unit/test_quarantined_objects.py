"""Who puts objects into a folder of no source is told once an hour: after the commit, and never not at all."""

import json
import uuid

import pytest

from chalicelib import settings
from chalicelib.events import start_run as module
from chalicelib.lake.inbox_object import InboxObject
from chalicelib.settings import Settings
from chalicelib.warehouse import connection, quarantined_objects

LOCKS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"


class Crash(BaseException):
    """The function dies: nothing after it is done."""


class Topic:
    """Stands in for SNS; `sent` has the messages, `locks` how many advisory locks were held meanwhile."""

    def __init__(self, database_url):
        self.sent, self.locks, self.fails, self._database_url = [], [], None, database_url

    def publish(self, **given):
        with connection.transaction(self._database_url) as open_connection, open_connection.cursor() as cursor:
            cursor.execute(LOCKS)
            self.locks.append(cursor.fetchone()[0])
        if self.fails:
            raise self.fails
        self.sent.append(given["Message"])


@pytest.fixture
def topic(database_url, monkeypatch):
    names = dict.fromkeys(("bucket", "state_machine_arn", "topic_arn", "undelivered_url"), "x")
    mine = Settings(**{**names, "bucket": "lake", "database_url": database_url})
    monkeypatch.setattr(settings, "current", lambda: mine)
    found = Topic(database_url)
    monkeypatch.setattr(module, "_sns", lambda: found)
    return found


@pytest.fixture
def folder():
    return f"nobody_{uuid.uuid4().hex[:8]}"


def came(folder: str, name: str) -> list:
    """The messages that are to come again after S3 told of an object in a folder."""
    about = {"key": f"inbox/{folder}/{name}", "size": 5, "eTag": "e"}
    told = {"Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "lake"}, "object": about}}]}
    return module.start_run({"Records": [{"messageId": "m", "body": json.dumps(told)}]})["batchItemFailures"]


def test_nobody_waits_for_sns(topic, folder):
    assert came(folder, "a.csv") == []
    assert len(topic.sent) == 1 and topic.locks == [0]


def test_of_a_folder_of_no_source_one_email_an_hour_tells(topic, folder, database_url):
    for name in ("a.csv", "b.csv", "b.csv", "c.csv"):
        came(folder, name)
    assert [f"inbox/{folder}/a.csv" in text for text in topic.sent] == [True]
    with connection.transaction(database_url) as open_connection, open_connection.cursor() as cursor:
        hour = "UPDATE pipeline.quarantined_objects SET added_at = added_at - interval '1 hour' WHERE source = %s"
        cursor.execute(f"{hour} AND key LIKE '%%a.csv'", (folder,))  # b and c, which nobody told of, are of this hour
    came(folder, "d.csv")
    assert [f"inbox/{folder}/d.csv" in text for text in topic.sent] == [False, True]


def test_an_email_that_could_not_be_sent_is_sent_when_the_message_comes_again(topic, folder):
    topic.fails = ValueError("SNS is away")
    assert came(folder, "a.csv") == [{"itemIdentifier": "m"}]
    topic.fails = None
    assert came(folder, "b.csv") == []  # another object does not take its place: a's is owed
    assert came(folder, "a.csv") == []
    assert came(folder, "a.csv") == []
    assert [f"inbox/{folder}/a.csv" in text for text in topic.sent] == [True]


@pytest.mark.parametrize(("at", "emails"), [("_send", 1), ("told", 2)])
def test_a_crash_after_the_commit_leads_to_one_more_email_and_never_to_none(topic, folder, monkeypatch, at, emails):
    def dies(*given):
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(*((module, "_send", dies) if at == "_send" else (quarantined_objects, "told", dies)))
        with pytest.raises(Crash):
            came(folder, "a.csv")
    for _ in range(2):
        assert came(folder, "a.csv") == []
    assert len(topic.sent) == emails


def test_of_an_object_that_a_run_could_not_read_the_runs_email_tells(topic, folder, database_url):
    found = InboxObject("lake", f"inbox/{folder}/a.csv", "e", 5)
    with connection.transaction(database_url) as open_connection, open_connection.cursor() as cursor:
        quarantined_objects.add(cursor, found, "RawError: binary", "run-1")
    came(folder, "a.csv")
    assert topic.sent == []
    came(folder, "b.csv")
    assert len(topic.sent) == 1
