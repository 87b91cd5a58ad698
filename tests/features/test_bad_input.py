"""Bad input: exactly the rows concerned are set aside, each with its raw line, or the run says what is wrong and where.

The sample API has the faults of real ones on demand (see `local/sample_faults.py`).
"""

import gzip
import re

import pytest

COLUMNS = {"id": "bigint not null", "amount": "integer", "price": "numeric(6,2)", "day": "date", "name": "text"}
# whatever is set aside, the run goes on
TOLERANT = {
    "expectations": [{"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 0}}],
    "meta": {"sluice": {"quarantine": {"fail": 1}}},
}

POSTS = "jsonplaceholder.typicode.com/posts"
POST = {"id": "integer not null", "title": "text not null"}


def loaded(pipeline, table: str) -> list[int]:
    return [key for (key,) in pipeline.query(f"SELECT id FROM curated.{table} ORDER BY id")]


# --- rows --------------------------------------------------------------------------------------

# what is wrong, the line, the reasons' beginnings; the raw record is the line, but for what Postgres cannot store
LINES = [
    ("a line that ends early", b'{"id": 1, "amount":', ["not valid JSON"]),
    ("two documents on a line", b'{"id": 1} {"id": 2}', ["not valid JSON"]),
    ("an array", b'[1, "one"]', ["not a JSON object but an array"]),
    ("a lone value", b"null", ["not a JSON object but null"]),
    ("text for a number", b'{"id": "one"}', ["id is 'one', expected bigint"]),
    ("a fraction for an integer", b'{"id": 1, "amount": 1.5}', ["amount is 1.5, expected integer"]),
    ("an object for text", b'{"id": 1, "name": {"first": "A"}}', ["name is {'first': 'A'}, expected text"]),
    ("no key", b'{"amount": 1}', ["id is null or missing"]),
    ("a null key", b'{"id": null}', ["id is null or missing"]),
    ("an escaped NUL", b'{"id": 1, "name": "a\\u0000b"}', ["column name contains a NUL character"]),
    ("a NUL byte", b'{"id": 1, "name": "a\x00b"}', ["not valid JSON"]),
    ("bytes that are not UTF-8", b'{"id": 1, "name": "caf\xe9"}', ["not valid JSON: str is not valid UTF-8"]),
    ("half a surrogate pair", b'{"id": 1, "name": "\\ud800"}', ["not valid JSON"]),
    ("a day that does not exist", b'{"id": 1, "day": "2023-02-30"}', ["day is '2023-02-30', expected a date"]),
    ("a number beyond bigint", b'{"id": 99999999999999999999}', ["id is 99999999999999999999, beyond the range"]),
    ("a number beyond integer", b'{"id": 1, "amount": 3000000000}', ["amount is 3000000000, beyond the range"]),
    ("a number beyond numeric(6,2)", b'{"id": 1, "price": 12345.6}', ["price is 12345.6, beyond the range"]),
    ("a number beyond any", b'{"id": 1, "amount": 1e999}', ["not valid JSON"]),
    (
        "three things at once",
        b'{"id": "x", "amount": "y", "day": "z"}',
        ["id is 'x', expected bigint", "amount is 'y', expected integer", "day is 'z', expected a date"],
    ),
]


def stored(line: bytes) -> str:
    return line.decode("utf-8", "backslashreplace").replace("\0", "\\x00")


def test_of_a_file_with_every_kind_of_bad_line_the_good_ones_are_loaded_and_each_bad_one_is_set_aside(
    pipeline, declare, table
):
    """Every second line is good; there is a blank one, and the last has no newline."""
    content = b"".join(b'{"id": %d}\n%s\n' % (100 + n, line) for n, (_, line, _) in enumerate(LINES))
    run = pipeline.run("files", input=declare(table, content + b'\n{"id": 999}', COLUMNS, suite=TOLERANT))
    assert run.status == "SUCCEEDED"
    assert loaded(pipeline, table) == [*range(100, 100 + len(LINES)), 999]

    found = pipeline.quarantine(run)
    assert [line for line, _, _ in found] == [2 * n + 2 for n in range(len(LINES))]
    for (what, line, expected), (_, record, reasons) in zip(LINES, found, strict=True):
        assert record == stored(line), what
        assert len(reasons) == len(expected), what
        assert all(map(str.startswith, reasons, expected)), (what, reasons)


def test_a_key_with_a_point_is_that_key_beyond_what_a_float_holds_too(pipeline, declare, table):
    """The float of 9007199254740993.0 is its neighbour, the key of another row."""
    keys = ("9007199254740993", "9007199254740992", "9007199254740993.0")
    content = "".join(f'{{"id":{key},"amount":{n}}}\n' for n, key in enumerate(keys, 1))
    run = pipeline.run("files", input=declare(table, content, COLUMNS))
    assert run.account == (3, 2, 0, 0, 1, 0)
    rows = pipeline.query(f"SELECT id, amount FROM curated.{table} ORDER BY id")
    assert rows == [(9007199254740992, 2), (9007199254740993, 3)]


def test_a_line_of_the_quarantine_is_that_line_of_the_raw_object(pipeline, declare, table):
    content = gzip.compress(b'{"id": 1}\n{"id": "x", "name": "caf\xe9"}\n{"id": 3}\n{"id": "four"}\n')
    run = pipeline.run("files", input=declare(table, content, COLUMNS, suite=TOLERANT, name="data.ndjson.gz"))
    where = (
        "SELECT o.key, q.line, q.record FROM pipeline.quarantine q JOIN pipeline.raw_objects o USING (run_id, part)"
        " WHERE q.run_id = %s ORDER BY q.line"
    )
    found = pipeline.query(where, run.run_id)
    assert [line for _, line, _ in found] == [2, 4]
    for key, line, record in found:
        raw = pipeline.client("s3").get_object(Bucket=pipeline.env["SLUICE_BUCKET"], Key=key)["Body"].read()
        assert raw == content
        assert stored(gzip.decompress(raw).split(b"\n")[line - 1]) == record


def test_bad_records_of_a_csv_are_set_aside_by_their_line(pipeline, declare, table):
    content = (
        b"id,amount,price,day,name\n"
        b"1,2,3,2023-01-01,good\n"
        b"2,many,3,2023-01-01,type\n"
        b"3,2\n"
        b"4,2,3,2023-01-01,more,fields\n"
        b'5,2,3,2023-02-30,"over\ntwo lines"\n'
        b"6,,,,\n"
        b"7,2,3,2023-01-01,caf\xe9\n"
        b"8,2,3,2023-01-01,a\x00b\n"
        b",2,3,2023-01-01,no key\n"
        b"10,2,3,2023-01-01,good\n"
    )
    run = pipeline.run("files", input=declare(table, content, COLUMNS, suite=TOLERANT, name="data.csv"))
    assert loaded(pipeline, table) == [1, 6, 10]
    assert pipeline.quarantine(run) == [
        (3, "2,many,3,2023-01-01,type", ["amount is 'many', expected integer"]),
        (4, "3,2", ["2 fields where the header has 5"]),
        (5, "4,2,3,2023-01-01,more,fields", ["6 fields where the header has 5"]),
        (6, '5,2,3,2023-02-30,"over\ntwo lines"', ["day is '2023-02-30', expected a date as YYYY-MM-DD that exists"]),
        (9, "7,2,3,2023-01-01,caf\\xe9", ["column name is not valid UTF-8"]),
        (10, "8,2,3,2023-01-01,a\\x00b", ["column name contains a NUL character"]),
        (11, ",2,3,2023-01-01,no key", ["id is null or missing"]),
    ]


def test_fields_that_are_not_declared_stay_in_the_raw_layer_and_the_report_names_them(pipeline, declare, table):
    content = '{"id": 1, "colour": "red"}\n{"id": 2, "size": {"cm": 3}}\n'
    run = pipeline.run("files", input=declare(table, content, COLUMNS))
    assert (run.row["verdict"], run.account) == ("pass", (2, 2, 0, 0, 0, 0))
    _, page = pipeline.get(f"{pipeline.env['SLUICE_LINKS_URL']}/{run.row['report_key']}")
    for field in ("colour", "size"):
        assert re.search(rf"{field}<.*kept in raw only<.*\b1\b", page), field


def test_a_csv_that_lacks_a_declared_column_fails_the_run_and_overwrites_nothing(pipeline, declare, table):
    columns = {"id": "integer", "amount": "integer"}
    pipeline.run("files", input=declare(table, "id,amount\n1,10\n", columns, name="data.csv"))
    for content, missing in (("id\n1\n", "amount"), ("amount\n10\n", "id")):
        run = pipeline.run("files", input=declare(table, content, columns, name="data.csv"))
        assert (run.status, run.error) == ("FAILED", "ChunksFailed")
        assert f"the file has no column for {missing}; its header has 1: " in run.cause
        assert "/data.csv, raw=raw/source=files/" in run.cause
        assert f"no column for {missing}" in " ".join(pipeline.emails(run.run_id)[0]["message"].split())
    assert pipeline.query(f"SELECT id, amount FROM curated.{table}") == [(1, 10)]


def test_a_field_that_json_records_lack_is_null(pipeline, declare, table):
    run = pipeline.run("files", input=declare(table, '{"id": 1, "amount": 10}', COLUMNS))
    assert run.row["verdict"] == "pass"
    assert pipeline.query(f"SELECT id, amount, price, day, name FROM curated.{table}") == [(1, 10, None, None, None)]


def test_a_line_of_500_megabytes_is_set_aside_in_bounded_memory(pipeline, declare, table, tmp_path):
    with (tmp_path / "long.ndjson").open("wb") as file:
        file.write(b'{"id": 1}\n{"id": 2, "name": "')
        file.seek(500_000_000, 1)  # a hole takes no disk
        file.write(b'"}\n{"id": 3}\n')
    pipeline.stack.usage(reset=True)
    run = pipeline.run("files", input=declare(table, None, COLUMNS, suite=TOLERANT, location="long.ndjson"))
    peaks = {name: used["peak_rss_mb"] for name, used in pipeline.stack.usage().items()}
    [(key,)] = pipeline.query("SELECT key FROM pipeline.raw_objects WHERE run_id = %s", run.run_id)
    pipeline.client("s3").delete_object(Bucket=pipeline.env["SLUICE_BUCKET"], Key=key)  # half a gigabyte

    assert run.account == (3, 2, 0, 0, 0, 1)
    [(line, record, [reason])] = pipeline.quarantine(run)
    assert (line, record[:30]) == (2, '{"id": 2, "name": "\\x00\\x00\\x0')
    assert "the record is 500000022 bytes long" in reason
    assert {"fetch_partition", "transform", "load"} <= set(peaks)
    assert max(peaks.values()) < 768, peaks


# --- files that cannot be read -----------------------------------------------------------------

PACKED = gzip.compress(b"".join(b'{"id": %d}\n' % n for n in range(10_000)))

FILES = {
    "empty": ("data.ndjson", b"", ["the object is empty"]),
    "a truncated gzip": (
        "data.ndjson.gz",
        PACKED[: len(PACKED) // 2],
        ["the gzip data ends early", f"from {len(PACKED) // 2} bytes"],
    ),
    "a damaged gzip": (
        "data.ndjson.gz",
        PACKED[:2000] + b"\xff" * 100 + PACKED[2100:],
        ["the gzip data is damaged", "byte="],
    ),
    "HTML": ("data.ndjson", b"<!doctype html><html><body>Sign in</body></html>", ["HTML or XML where", "<!doctype"]),
    "UTF-16": ("data.csv", "id,amount\n1,2\n".encode("utf-16"), ["the object is UTF-16", "iconv"]),
    "a spreadsheet": ("data.csv", b"PK\x03\x04" + b"\x00" * 100, ["a zip archive or a spreadsheet"]),
    "an array that ends early": ("data.json", b'[{"id": 1}, {"id": 2}', ["ends early: no closing ]", "byte=21"]),
    "a document over several lines": ("data.json", b'{\n"items": [{"id": 1}]}', ["one JSON document over several"]),
    "a quote that never closes": ("data.csv", b'id,name\n1,a\n2,"b\n3,c\n', ["a quote opens here", "line=3"]),
    "a CSV record without an end": ("data.csv", b'id,name\n1,"' + b"x" * 2_000_000, ["longer than 1048576", "line=2"]),
}


@pytest.mark.parametrize(("name", "content", "words"), FILES.values(), ids=FILES)
def test_a_file_that_cannot_be_read_fails_the_run_by_name_and_place(pipeline, declare, table, name, content, words):
    format = "auto" if name.endswith((".json", ".csv", ".gz")) else "ndjson"
    run = pipeline.run("files", input=declare(table, content, COLUMNS, name=name, format=format))
    expect_refused(pipeline, run, [*words, name])


def expect_refused(pipeline, run, words: list[str]) -> None:
    """Fetch failed, the error and the email have all the words, and nothing was kept of the run's data."""
    assert (run.status, run.row["status"], run.row["error"]["state"]) == ("FAILED", "failed", "Fetch")
    assert run.error == run.row["error"]["error"]
    [email] = pipeline.emails(run.run_id)
    for word in words:
        assert word in run.row["error"]["reason"]
        assert word in email["message"]
    tables = "SELECT (SELECT count(*) FROM pipeline.chunks WHERE run_id = %s), (SELECT count(*) FROM curated.{})"
    assert pipeline.query(tables.format(run.row["table_name"]), run.run_id) == [(0, 0)]
    assert pipeline.staging_tables(run.run_id) == []


# --- servers that do not serve -----------------------------------------------------------------


@pytest.fixture
def fetched(declare, table):
    """fetched(pipeline, fault) starts a run of a file that a server serves with that fault; its execution."""

    def start(pipeline, fault: str, **settings) -> str:
        address = f"{pipeline.env['SLUICE_SOURCES_URL']}/{fault}/{POSTS}?_limit=20"
        name = f"{table}_{fault.rpartition('/')[2].translate(str.maketrans('-,=.', '____'))}"
        return pipeline.start("files", input=declare(name, None, POST, location=address, **settings))

    return start


# what no second try would change: one request each
REFUSED = {
    "html": ["the source answered with HTML", "Please sign in"],
    "empty": ["the object is empty"],
    "half-json": ["the JSON array ends early"],
    "redirect-loop": ["the source redirects in a circle", "turn="],
    "redirect-on": ["the source redirects more than 5 times"],
    "403": ["the source answered 403"],
}


@pytest.mark.parametrize(("fault", "words"), REFUSED.items(), ids=REFUSED)
def test_an_answer_that_is_no_data_fails_the_run_at_once(pipeline, fetched, fault, words):
    run = pipeline.wait(fetched(pipeline, f"faults/{fault}"))
    expect_refused(pipeline, run, [*words, f"/faults/{fault}/{POSTS}"])
    assert run.error in ("SourceError", "RawError")
    assert pipeline.attempts(run, "FetchPartition") == 1


@pytest.mark.parametrize("fault", ["429,retry_after=1,times=1", "503,retry_after=1,times=2", "500,times=2", "gzip"])
def test_a_server_that_recovers_is_waited_for(pipeline, fetched, fault):
    run = pipeline.wait(fetched(pipeline, f"faults/{fault}"))
    assert (run.status, run.account) == ("SUCCEEDED", (20, 20, 0, 0, 0, 0))


@pytest.fixture(scope="module")
def impatient(own_stack):
    """A stack that waits a second for a source, not ten minutes, and takes 100 kB of it, not 5 GB."""
    with own_stack(fetch_seconds=1, fetch_bytes=100_000) as pipeline:
        yield pipeline


# what may pass: the state machine tries again, six times in all; what will not: once
UNAVAILABLE = {
    "429,retry_after=3600": (1, "SourceError", ["429, the source asks to wait"]),  # longer than all tries take
    "500": (6, "SourceUnavailable", ["500: Sample fault"]),
    "hang": (6, "SourceUnavailable", ["no answer within 1 s"]),
    "drip": (6, "SourceUnavailable", ["within 1 s"]),
    "truncated": (6, "SourceUnavailable", ["the answer ended after 3,315 of 6,631 bytes"]),
    "endless": (1, "SourceError", ["larger than the limit of 100,000 bytes"]),
}


def test_a_server_that_does_not_recover_fails_the_run_after_some_tries_within_the_limits(impatient, fetched):
    """All at once: each waits between its tries, up to half a minute in all."""
    started = {fault: fetched(impatient, f"faults/{fault}") for fault in UNAVAILABLE}
    for fault, (attempts, error, words) in UNAVAILABLE.items():
        run = impatient.wait(started[fault])
        expect_refused(impatient, run, [*words, f"/faults/{fault}/{POSTS}"])
        assert (run.error, impatient.attempts(run, "FetchPartition")) == (error, attempts), fault
        [letter] = impatient.dead_letters(run.run_id)
        assert letter["input"] == run.row["input"]


# --- too much for one run ----------------------------------------------------------------------


def test_more_partitions_than_an_execution_can_carry_are_refused_with_an_email(pipeline, declare, table, tmp_path):
    (tmp_path / "many").mkdir()
    for number in range(3_000):
        (tmp_path / "many" / f"{number}.ndjson").write_bytes(b'{"id": 1}\n')
    run = pipeline.run("files", input=declare(table, None, {"id": "bigint not null"}, location="many"))
    assert (run.status, run.error, run.row["status"]) == ("FAILED", "ContractError", "failed")
    (email,) = pipeline.emails(run.run_id)
    assert "3,000 partitions were planned; one run takes 2,000" in " ".join(email["message"].split())
    assert len(pipeline.dead_letters(run.run_id)) == 1


def test_partitions_of_one_run_are_told_from_each_other_by_number_alone(pipeline, declare, table, tmp_path):
    (tmp_path / "some").mkdir()
    for number in range(12):
        (tmp_path / "some" / f"{number:02}.ndjson").write_bytes(b'{"id": %d}\n' % number)
    run = pipeline.run("files", input=declare(table, None, {"id": "bigint not null"}, location="some"))
    assert run.status == "SUCCEEDED"
    assert loaded(pipeline, table) == list(range(12))
