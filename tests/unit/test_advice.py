"""What to type about a run that failed: one answer for the email, `sluice run`, `sluice runs show` and the errors."""

import pytest
from memory_s3 import MemoryS3

from chalicelib.errors import AccountError
from chalicelib.lake import Lake
from chalicelib.redriving import advice
from chalicelib.warehouse.publishing import Account

OBJECT = "inbox/posts/a.ndjson"
READS = {"source": "posts", "input": f"s3://lake/{OBJECT}", "trigger": f"inbox {OBJECT}"}
REPLAY = {"source": "posts", "replay": "c1", "trigger": "replay of posts-1"}


@pytest.mark.parametrize(
    ("wanted", "error", "command"),
    [
        ({"source": "posts"}, "SourceError", "sluice redrive r"),
        (REPLAY, "SourceError", "sluice quarantine replay --run posts-1"),
        (REPLAY, None, "sluice quarantine replay --run posts-1"),
        ({"source": "posts"}, None, "sluice redrive r"),
        ({"surce": "posts"}, "ContractError", None),
        (None, "ContractError", None),
    ],
    ids=["failed", "a replay", "a replay that was stopped", "stopped", "no input that a run can have", "no input"],
)
def test_a_run_is_redriven_and_a_replay_replayed_anew(wanted, error, command):
    assert advice.command("r", wanted, error, "no", Lake("lake", MemoryS3())) == command


class S3(MemoryS3):
    def head_object(self, Bucket, Key):
        return {"ETag": '"1"', **super().head_object(Bucket, Key)}


@pytest.mark.parametrize(
    ("key", "error", "command"),
    [
        (OBJECT, "RawError", None),
        (OBJECT, "WarehouseUnavailable", "sluice redrive r"),
        ("another", "RawError", "sluice redrive r"),
    ],
    ids=["it cannot be read", "another cause", "it is gone"],
)
def test_of_an_object_that_cannot_be_read_a_corrected_one_is_a_run_by_itself(key, error, command):
    s3 = S3()
    s3.put_object("lake", key, b"{")
    assert advice.command("r", READS, error, "no", Lake("lake", s3)) == command


def test_rows_that_are_missing_are_told_of_without_a_command_that_a_replay_has_not():
    with pytest.raises(AccountError, match=r"Next: start the run again, as `sluice runs show` says") as caught:
        Account(fetched=2, inserted=1, updated=0, unchanged=0, duplicates=0, quarantined=0).check("r")
    assert "redrive" not in str(caught.value)
