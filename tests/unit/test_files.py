import gzip
import json

import pytest
from loopback import serving
from memory_s3 import MemoryS3

from chalicelib import sources
from chalicelib.contracts import Partition, Window
from chalicelib.errors import ContractError, DeclarationError, NotFound, SourceError
from chalicelib.lake import cutting, keys, records
from chalicelib.lake.store import Lake
from chalicelib.settings import Settings
from chalicelib.sources import files, location
from chalicelib.sources.files import Files, FileSource

LOCAL = Settings(stage="local", bucket="lake")
ON_AWS = Settings(stage="prod", bucket="lake")

DECLARATION = """
location = "data"
table = "orders"
key = ["id"]
nulls = ["NA"]
[columns]
id = "bigint not null"
name = "text"
[rename]
"Full Name" = "name"
"""


@pytest.fixture
def s3(monkeypatch):
    """What every Lake talks to."""
    client = MemoryS3()
    monkeypatch.setattr(location, "Lake", lambda bucket: Lake(bucket, client))
    return client


@pytest.fixture
def web():
    """(base URL, what is served there by path), on loopback."""
    served: dict[str, bytes] = {}

    def app(environ, start_response):
        body = served.get(environ["PATH_INFO"])
        start_response("404 Not Found" if body is None else "200 OK", [("Content-Length", str(len(body or b"")))])
        return [body or b""]

    with serving(app) as base:
        yield base, served


def source_of(**attributes) -> FileSource:
    source = FileSource()
    source.name = "orders"
    for name, value in attributes.items():
        setattr(source, name, value)
    return source


def locations(given, settings=LOCAL, source=None) -> list[str]:
    return [request["location"] for request in (source or source_of()).partitions(Window(), given, settings)]


def load(source, request, settings=LOCAL) -> list[records.ReadRecords]:
    lake = Lake("lake", MemoryS3())
    pages = source.pages(request, None, settings)
    listing = cutting.store("orders", "r", "2026-01-02", Partition(0, request), pages, lake, settings)
    return [records.read(chunk, source, lake, settings) for chunk in listing.chunks]


def test_a_folder_or_a_glob_is_one_partition_per_file_in_order(tmp_path):
    for name in ("b.csv", "a.csv", ".hidden", "c.json"):
        (tmp_path / name).write_text("x")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "d.csv").write_text("x")
    assert locations(str(tmp_path)) == [str(tmp_path / name) for name in ("a.csv", "b.csv", "c.json")]
    assert locations(f"{tmp_path}/*.csv") == [str(tmp_path / name) for name in ("a.csv", "b.csv")]
    assert locations(f"{tmp_path}/**/*.csv")[-1] == str(tmp_path / "inner" / "d.csv")


def test_a_path_is_made_absolute_for_the_stages_that_follow(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a[1].csv").write_text("x")
    assert locations("a[1].csv") == [str(tmp_path / "a[1].csv")]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SourceError, match=r"there is no file at .*/nothing\.csv"):
        locations(f"{tmp_path}/nothing.csv")
    with pytest.raises(SourceError, match="there is no file at"):
        load(source_of(), {"location": f"{tmp_path}/nothing.csv"})


def test_without_input_the_default_is_taken(tmp_path):
    (tmp_path / "a.csv").write_text("x")
    assert locations(None, source=source_of(default_input=str(tmp_path))) == [str(tmp_path / "a.csv")]
    with pytest.raises(SourceError, match="no input was given"):
        locations(None)


def test_on_aws_a_local_path_is_refused(tmp_path):
    with pytest.raises(SourceError, match="s3://"):
        locations(str(tmp_path), ON_AWS)


def test_s3_takes_a_key_a_prefix_or_a_glob(s3):
    s3.objects = {"in/a.csv": b"x\n1\n", "in/b.csv": b"x\n2\n", "in/": b"", "in/c.json": b"[]", "in/a.csv.old": b""}
    assert locations("s3://b/in/a.csv", ON_AWS) == ["s3://b/in/a.csv"]
    assert locations("s3://b/in/*.csv", ON_AWS) == ["s3://b/in/a.csv", "s3://b/in/b.csv"]
    assert len(locations("s3://b/in/", ON_AWS)) == 4
    assert load(source_of(), {"location": "s3://b/in/b.csv"}, ON_AWS)[0].fields == {"x": ["2"]}
    with pytest.raises(SourceError, match="there is no file at s3://b/out/"):
        locations("s3://b/out/", ON_AWS)
    with pytest.raises(SourceError, match="was it moved"):
        load(source_of(), {"location": "s3://b/in/z.csv"}, ON_AWS)


def test_a_url_is_fetched_from_the_host_it_names(web):
    base, served = web
    served["/o.csv.gz"] = gzip.compress(b"id;name\n1;x\n")
    assert locations(f"{base}/o.csv.gz?token=abcdefgh") == [f"{base}/o.csv.gz?token=abcdefgh"]
    assert load(source_of(), {"location": f"{base}/o.csv.gz"})[0].fields == {"id": ["1"], "name": ["x"]}
    with pytest.raises(SourceError, match="404"):
        load(source_of(), {"location": f"{base}/gone.csv"})


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize(
    ("data", "format"),
    [
        (b'{"id":"1"}\n{"id":"2"}', "ndjson"),
        (b'\xef\xbb\xbf [\n {"id":"1"}, {"id":"2"}]', "json"),
        (b"id\n1\n2\n", "csv"),
    ],
)
def test_format_and_compression_are_found_in_the_content_not_in_the_name(tmp_path, data, format, pack):
    path = tmp_path / "data.txt"
    path.write_bytes(pack(data))
    [page] = source_of().pages({"location": str(path)}, None, LOCAL)
    assert (page.format, page.compression) == (format, "gzip" if pack is gzip.compress else None)
    assert page.body.read(3) + page.body.read() == pack(data)
    page.body.close()
    assert [value for batch in load(source_of(), {"location": str(path)}) for value in batch.fields["id"]] == ["1", "2"]


def test_a_declared_format_and_delimiter_are_obeyed(tmp_path):
    path = tmp_path / "odd.csv"
    path.write_text("{a|b,c\n1|2,3\n")
    source = source_of(format="csv", delimiter="|")
    assert load(source, {"location": str(path)})[0].fields == {"{a": ["1"], "b,c": ["2,3"]}


LINE, ARRAY, TABLE = b'{"id":"1"}\n', b'[{"id":"1"}]', b"id\n1\n"


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize(
    ("declared", "name", "data", "format"),
    [
        ("csv", "webhook-1.ndjson", LINE, "ndjson"),
        ("csv", "x.JSONL", LINE, "ndjson"),
        ("csv", "x.json", LINE, "ndjson"),
        ("csv", "x.json", ARRAY, "json"),
        ("csv", "x.json", TABLE, "csv"),
        ("csv", "x.txt", TABLE, "csv"),
        ("csv", "ndjson", TABLE, "csv"),
        ("ndjson", "x.csv", TABLE, "csv"),
        ("ndjson", "x.json", ARRAY, "json"),
        ("ndjson", "x", LINE, "ndjson"),
        ("json", "x.ndjson", LINE, "ndjson"),
        ("json", "x.csv", TABLE, "csv"),
    ],
)
def test_what_a_files_name_says_goes_before_the_format_of_its_source(tmp_path, declared, name, data, format, pack):
    path = tmp_path / f"{name}{'.gz' if pack is gzip.compress and '.' in name else ''}"
    path.write_bytes(pack(data))
    source = source_of(format=declared)
    [page] = source.pages({"location": str(path)}, None, LOCAL)
    page.body.close()
    assert page.format == format
    assert [value for batch in load(source, {"location": str(path)}) for value in batch.fields["id"]] == ["1"]


def test_what_a_declaration_says_of_its_file_goes_before_the_name(tmp_path):
    (tmp_path / "x.csv").write_bytes(LINE)
    source = sources.files.declared(
        {"location": "x.csv", "table": "x", "key": ["id"], "columns": {"id": "text"}, "format": "ndjson"}
    )
    [page] = source.pages({"location": str(tmp_path / "x.csv")}, None, LOCAL)
    page.body.close()
    assert page.format == "ndjson"


def test_one_json_document_over_several_lines_is_explained(tmp_path):
    path = tmp_path / "doc.json"
    path.write_text('{\n "items": []\n}')
    with pytest.raises(SourceError, match="one JSON document over several lines"):
        load(source_of(), {"location": str(path)})


# --- the source `files` --------------------------------------------------------------------------


@pytest.fixture
def declared(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "o.csv").write_text("id,Full Name\n1,x\n2,NA\n")
    path = tmp_path / "orders.toml"
    path.write_text(DECLARATION)
    return path


def test_a_declaration_becomes_a_source_that_runs(declared):
    values = Files().declare(str(declared), LOCAL)
    assert values["location"] == str(declared.parent / "data")
    source = files.declared(json.loads(json.dumps(values)))
    assert (source.name, source.table, source.key) == ("files", "orders", ("id",))
    assert [c.type for c in source.columns] == ["bigint", "text"]
    assert source.suite == "files.json"
    assert source.suite_document is None
    [request] = source.partitions(Window(), None, LOCAL)
    assert load(source, request)[0].fields == {"id": ["1", "2"], "name": ["x", None]}


def test_texts_of_a_declaration_are_not_embedded_and_the_way_to_that_is_told(declared):
    source = files.declared(Files().declare(str(declared), LOCAL))
    with pytest.raises(ContractError, match=r"sluice new source NAME .* name columns in the source's `text`"):
        source.embeds(True)
    assert (source.embeds(None), source.embeds(False)) == (False, False)


def test_a_run_is_given_its_own_source_and_reads_its_declaration_once(declared):
    lake = Lake("lake", MemoryS3())
    for run in ("run1", "run2"):
        declared.write_text(DECLARATION.replace('"orders"', f'"{run}"'))
        lake.put_json(keys.declaration(run), Files().declare(str(declared), LOCAL))
    assert sources.for_run("files", "run1", lake).table == "run1"
    assert sources.for_run("files", "run2", lake).table == "run2"
    lake.client.objects.clear()
    assert sources.for_run("files", "run2", lake) is sources.for_run("files", "run2", lake)
    with pytest.raises(NotFound):
        sources.for_run("files", "run3", lake)
    assert sources.for_run("weather", "run1", lake) is sources.get("weather")


def test_the_suite_of_a_declaration_travels_with_it(declared):
    (declared.parent / "s.json").write_text('{"expectations": []}')
    declared.write_text('suite = "s.json"\n' + DECLARATION)
    values = Files().declare(str(declared), LOCAL)
    assert files.declared(values).suite_document == {"expectations": []}
    declared.write_text('suite = "none.json"\n' + DECLARATION)
    with pytest.raises(SourceError, match=r"there is no file at .*none\.json"):
        Files().declare(str(declared), LOCAL)


def test_a_declaration_may_be_at_a_url_or_in_s3(web, s3):
    base, served = web
    served["/in/orders.toml"] = DECLARATION.encode()
    s3.objects["in/orders.toml"] = DECLARATION.encode()
    assert Files().declare(f"{base}/in/orders.toml", ON_AWS)["location"] == f"{base}/in/data"
    assert Files().declare("s3://b/in/orders.toml", ON_AWS)["location"] == "s3://b/in/data"


@pytest.mark.parametrize("given", [None, "orders.csv"])
def test_files_without_a_declaration_says_what_to_do(given):
    with pytest.raises(SourceError, match="sluice new source"):
        Files().declare(given, LOCAL)


def test_a_faulty_declaration_names_its_file(declared):
    declared.write_text(DECLARATION.replace("text", "varchar"))
    with pytest.raises(DeclarationError, match=r"column name has type 'varchar'.*"):
        Files().declare(str(declared), LOCAL)


def test_no_source_but_files_needs_a_declaration():
    assert sources.get("weather").declare(None, LOCAL) is None
    assert sources.get("files").columns == ()
