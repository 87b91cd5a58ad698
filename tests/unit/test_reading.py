"""Records come page by page in a stable order, filtered by typed values, with their lineage, personal ones masked."""

import contextlib
import datetime as dt

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2 import sql

from chalicelib import sources
from chalicelib.columns import Column
from chalicelib.contracts import Window
from chalicelib.errors import ContractError, NotFound, RequestRefused, UnknownSource
from chalicelib.reading import identity, records, tables
from chalicelib.reading.records import Query
from chalicelib.sources.base import Source
from chalicelib.warehouse import connection, indexes, ledger
from chalicelib.warehouse import tables as curated_tables


class Items(Source):
    name = "items"
    key = ("shelf", "number")
    columns = (
        Column("shelf", "text"),
        Column("number", "bigint"),
        Column("price", "numeric(10,2)"),
        Column("weight", "double precision"),
        Column("sold", "timestamptz"),
        Column("made", "timestamp"),
        Column("day", "date"),
        Column("fresh", "boolean"),
        Column("tags", "jsonb"),
        Column("owner", "text", personal=True),
    )
    day = "day"
    indexes = ("price",)
    anomalies = ()


class Secrets(Source):
    name = "secrets"
    key = ("email",)
    columns = (Column("email", "text", personal=True), Column("size", "integer"))


NAMES = Items().column_names
ROW = dict.fromkeys(NAMES) | {"shelf": "a", "number": 1}


class Store:
    """rows(…) makes the table's rows; page(…) and pages(…) read them."""

    def __init__(self, url):
        self.url = url

    def rows(self, *given):
        with connection.transaction(self.url) as conn, conn.cursor() as cursor:
            cursor.execute("TRUNCATE curated.items")
            names = [*NAMES, "_run_id", "_raw", "_fingerprint", "_loaded_at"]
            insert = sql.SQL("INSERT INTO curated.items ({}) VALUES ({})").format(
                sql.SQL(", ").join(map(sql.Identifier, names)), sql.SQL(", ").join(map(sql.Placeholder, names))
            )
            lineage = {"_run_id": "items-1", "_raw": "0:7", "_fingerprint": 1, "_loaded_at": "2026-03-01T12:00:00Z"}
            for values in given:
                cursor.execute(insert, {**ROW, **lineage, **values})

    def page(self, after=None, source="items", **query):
        with connection.transaction(self.url) as conn:
            return records.listing(conn, Query(source, **query)).page(conn, after)

    def pages(self, **query):
        """The records of all pages, one after the other."""
        found, after = [], None
        for _ in range(200):
            page = self.page(after, **query)
            found += page.records
            after = page.position
            if after is None:
                return found
            assert len(page.records) == query["limit"]
        raise AssertionError("pages without an end")

    def keys(self, **query):
        return [(r["values"]["shelf"], r["values"]["number"]) for r in self.page(**query).records]

    def record(self, id, **options):
        with connection.transaction(self.url) as conn:
            return records.record(conn, id, **options)

    def execute(self, text, *values):
        with connection.transaction(self.url) as conn, conn.cursor() as cursor:
            cursor.execute(text, values)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="module")
def made(database_url):
    store = Store(database_url)
    store.execute("DROP TABLE IF EXISTS curated.items, curated.secrets")
    store.execute("DELETE FROM pipeline.runs WHERE run_id = 'items-1'")
    with connection.transaction(database_url) as conn, conn.cursor() as cursor:
        for source in (Items(), Secrets()):
            curated_tables.ensure_curated(cursor, source)
            indexes.ensure(cursor, source)
        ledger.open_run(cursor, Items(), "items-1", "arn", {}, Window(), "2026-03-01")
        ledger.add_raw_objects(cursor, "items-1", [(0, "raw/items.ndjson", 1, "0")])
    yield store
    store.execute("DROP TABLE curated.items, curated.secrets")


@pytest.fixture
def store(made, monkeypatch):
    of_name = {"items": Items(), "secrets": Secrets()}
    registered = sources.get
    monkeypatch.setattr(sources, "get", lambda name: of_name.get(name) or registered(name))
    return made


# --- pages -----------------------------------------------------------------------------------

PRICES = st.sampled_from([None, "1.00", "2.00", "2.50", "NaN"])
WEIGHTS = st.sampled_from([None, 0.1, -1e300, 1e-7, float("inf"), float("nan")])
SOLD = st.sampled_from([None, "2026-01-01T00:00:00.000001Z", "2026-01-01T00:00:00Z", "infinity"])
TABLES = st.lists(
    st.tuples(st.sampled_from(["a", "b", "ä'\""]), st.integers(-3, 3), PRICES, WEIGHTS, SOLD, st.booleans()),
    max_size=12,
    unique_by=lambda row: row[:2],
)
SORTS = ["shelf", "number", "price", "weight", "sold", "fresh", "_loaded_at"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TABLES, st.sampled_from([None, *SORTS, *(f"-{name}" for name in SORTS)]), st.integers(1, 4))
def test_the_pages_together_are_the_rows_in_the_order_that_postgres_gives_them(store, rows, sort, limit):
    names = ("shelf", "number", "price", "weight", "sold", "fresh")
    store.rows(*(dict(zip(names, row, strict=True)) for row in rows))
    down = " DESC" if (sort or "").startswith("-") else ""
    wanted = [name for name in dict.fromkeys(((sort or "shelf").lstrip("-"), "shelf", "number"))]
    order = ", ".join(f"{name}{down}" for name in wanted)
    expected = store.execute(f"SELECT shelf, number FROM curated.items ORDER BY {order}")
    found = store.pages(sort=sort, limit=limit)
    assert [(r["values"]["shelf"], r["values"]["number"]) for r in found] == expected


def test_rows_that_come_and_go_between_pages_neither_repeat_nor_hide_another(store):
    store.rows(*({"number": number, "price": number // 2} for number in range(10)))
    first = store.page(sort="price", limit=4)
    store.execute("DELETE FROM curated.items WHERE number = 3")
    store.execute(
        "INSERT INTO curated.items (shelf, number, price, _run_id, _raw, _fingerprint, _loaded_at)"
        " VALUES ('a', -1, 0, 'r', '0:1', 1, now())"
    )
    rest = store.page(first.position, sort="price", limit=100)
    assert [r["values"]["number"] for r in first.records + rest.records] == list(range(10))


@pytest.mark.parametrize("sort", [None, "price", "-price", "-shelf"])
def test_any_page_is_read_from_an_index_whatever_lies_before_it(store, sort):
    store.rows()
    store.execute(
        "INSERT INTO curated.items (shelf, number, price, _run_id, _raw, _fingerprint, _loaded_at)"
        " SELECT 's' || n / 100, n, nullif(mod(n, 100), 7), 'r', '0:1', 1, now() FROM generate_series(1, 20000) AS n"
    )
    store.execute("ANALYZE curated.items")
    with connection.transaction(store.url) as conn, conn.cursor() as cursor:
        found = records.listing(conn, Query("items", sort=sort, limit=10))
        position = [{"shelf": "s100", "number": 10000, "price": "50.00"}[column.name] for column in found.order]
        for after in (None, position, [None, *position[1:]] if sort and "price" in sort else position):
            for part in found._parts(after):
                cursor.execute(sql.SQL("EXPLAIN ") + found._statement(part), {**part.values, "limit": 10})
                plan = "\n".join(line for (line,) in cursor.fetchall())
                assert "Seq Scan" not in plan and "Filter" not in plan, plan  # no row is read to be left out


@pytest.mark.parametrize(
    "after",
    [[], ["a"], [1, 2, 3], [None, 1], ["a", None], [{"a": 1}, 2], ["a", "x"], ["a", 10**30], ["\x00", 1]],
    ids=str,
)
def test_a_position_that_is_none_of_the_listing_is_refused(store, after):
    with pytest.raises(ContractError):
        store.page(after)


@pytest.mark.parametrize("limit", [0, 1001])
def test_a_page_has_at_least_one_record_and_at_most_a_thousand(store, limit):
    with pytest.raises(ContractError, match=f"limit is {limit}"):
        store.page(limit=limit)


# --- filters ---------------------------------------------------------------------------------

SHELF = [
    {"number": 1, "price": "1.50", "weight": 1.5, "day": "2026-01-01", "fresh": True, "sold": "2026-01-01T10:00:00Z"},
    {"number": 2, "price": "2.50", "weight": -2, "day": "2026-01-02", "fresh": False, "tags": "[1]"},
    {"number": 3, "shelf": "b,c", "made": "2026-01-03T04:05:06"},
    {"number": 4, "shelf": 'd"e%', "day": "2026-01-04", "price": "10"},
]


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (["number:eq:2"], [2]),
        (["number:ne:2"], [1, 3, 4]),
        (["price:ne:2.50"], [1, 3, 4]),
        (["price:lt:2.505"], [1, 2]),
        (["price:ge:2.5", "price:le:2.5"], [2]),
        (["price:gt:9"], [4]),
        (["weight:lt:0"], [2]),
        (["fresh:eq:true"], [1]),
        (["day:ge:2026-01-02"], [2, 4]),
        (["sold:eq:2026-01-01T12:00:00+02:00"], [1]),
        (["made:gt:2026-01-03T04:05:05"], [3]),
        (["shelf:in:a,b"], [1, 2]),
        (['shelf:in:"b,c","d""e%"'], [3, 4]),
        (["number:in:1,4,9"], [1, 4]),
        (["shelf:prefix:b"], [3]),
        (['shelf:prefix:d"e%'], [4]),
        (["shelf:prefix:_"], []),
        (["price:null:true"], [3]),
        (["tags:null:false"], [2]),
        (["_run_id:eq:items-1", "number:lt:3"], [1, 2]),
        (["_loaded_at:gt:2026-03-01T12:00:00Z"], []),
    ],
    ids=lambda value: " ".join(map(str, value)),
)
def test_filters_compare_by_the_type_of_their_column_and_hold_together(store, wanted, numbers):
    store.rows(*SHELF)
    assert sorted(number for _, number in store.keys(filters=tuple(wanted))) == numbers


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ("colour:eq:red", "items has no column 'colour'"),
        ("number", "is no column:operator:value"),
        ("number:2", "is no column:operator:value"),
        ("number:is:2", "has no operator 'is'"),
        ("number:eq:two", "number is bigint, and 'two' is no such value"),
        ("number:eq:", "number is bigint, and '' is no such value"),
        ("number:eq:99999999999999999999", "number is bigint"),
        ("price:ge:1e", "price is numeric"),
        ("weight:eq:1e400", "weight is double precision"),
        ("day:eq:2026-02-30", "day is date"),
        ("sold:eq:yesterday", "sold is timestamptz"),
        ("fresh:eq:maybe", "fresh is boolean"),
        ("shelf:eq:a\x00b", "shelf is text"),
        ("shelf:eq:\ud800", "shelf is text"),
        ("number:null:2", "says neither true nor false"),
        ("number:prefix:2", "number is bigint, and prefix is for texts"),
        ("tags:eq:1", "tags is jsonb, which cannot be compared with"),
        ('shelf:in:"a', "has no list of values"),
        ("shelf:in:", "has 0 values"),
        ("number:in:1,x", "'x' is no such value"),
        ("_raw:eq:1", "no column '_raw'"),
    ],
    ids=lambda value: value[:30].encode("ascii", "replace").decode().replace("\x00", "NUL"),
)
def test_a_filter_that_cannot_be_is_refused_and_named(store, wanted, told):
    with pytest.raises(ContractError) as raised:
        store.page(filters=(wanted,))
    assert told in str(raised.value)


@pytest.mark.parametrize("sort", ["colour", "-colour", "", "-", "--price", "tags", "price desc"])
def test_a_sort_by_what_is_no_column_or_has_no_order_is_refused(store, sort):
    with pytest.raises(ContractError):
        store.page(sort=sort)


def test_too_many_filters_or_values_are_refused(store):
    with pytest.raises(ContractError, match="21 filters are too many"):
        store.page(filters=("number:eq:1",) * 21)
    with pytest.raises(ContractError, match="101 values"):
        store.page(filters=("number:in:" + ",".join(map(str, range(101))),))


def test_days_are_those_of_the_sources_day_both_included(store):
    store.rows(*SHELF)
    days = {"first": dt.date(2026, 1, 2), "last": dt.date(2026, 1, 4)}
    assert [number for _, number in store.keys(**days)] == [2, 4]
    assert [number for _, number in store.keys(first=days["last"])] == [4]
    assert store.keys(last=dt.date.max) == store.keys(filters=("day:null:false",))


def test_without_a_day_of_its_own_it_is_the_day_on_which_the_row_was_loaded(store, monkeypatch):
    monkeypatch.setattr(Items, "day", None)
    store.rows(*SHELF)
    assert len(store.keys(first=dt.date(2026, 3, 1), last=dt.date(2026, 3, 1))) == 4
    assert store.keys(last=dt.date(2026, 2, 28)) == store.keys(first=dt.date(2026, 3, 2)) == []
    with pytest.raises(ContractError, match="from is 2026-03-02, after to, which is 2026-03-01"):
        store.keys(first=dt.date(2026, 3, 2), last=dt.date(2026, 3, 1))


# --- values, one record, ids -----------------------------------------------------------------


def test_values_are_json_that_loses_nothing(store):
    store.rows(
        {
            "number": 2**63 - 1,
            "price": "12345678.90",
            "weight": 0.1,
            "sold": "2026-01-01T01:00:00.5+01:00",
            "made": "2026-01-01T00:00:00",
            "day": "2026-01-01",
            "fresh": False,
            "tags": '{"a": [1, null]}',
            "owner": "Ada",
        }
    )
    [found] = store.page(unmasked=True).records
    assert found["values"] == {
        "shelf": "a",
        "number": 2**63 - 1,
        "price": "12345678.90",
        "weight": 0.1,
        "sold": "2026-01-01T00:00:00.5Z",
        "made": "2026-01-01T00:00:00",
        "day": "2026-01-01",
        "fresh": False,
        "tags": {"a": [1, None]},
        "owner": "Ada",
    }
    assert (found["run_id"], found["loaded_at"]) == ("items-1", "2026-03-01T12:00:00Z")


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=30), st.integers(-9, 9))
def test_an_id_leads_back_to_its_record_with_the_raw_object_and_line(store, shelf, number):
    store.rows({"shelf": shelf, "number": number})
    [listed] = store.page().records
    assert set(listed["id"]) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
    found = store.record(listed["id"])
    assert found.pop("raw") == {"object": "raw/items.ndjson", "line": 7}
    assert found == listed


def test_an_id_that_names_no_record_is_not_found(store):
    store.rows({})
    with connection.transaction(store.url) as conn:
        table = tables.find(conn, "items")
    [listed] = store.page().records
    others = [["a", 2], ["a"], ["a", 1, 1], ["a", "x"], ["a", 10**40], ["\x00", 1]]
    wrong = ["", "x", "!", "ä", listed["id"] + "A", *(identity.of(table, key) for key in others)]
    for id in wrong:
        with pytest.raises(NotFound):
            store.record(id)


def test_marks_of_anomalies_come_along(store):
    store.rows({}, {"number": 2})
    store.execute("ALTER TABLE curated.items ADD COLUMN _anomalies jsonb")
    try:
        mark = '[{"column": "price", "of": "value", "score": 9}, {"column": "owner", "of": "value", "value": 3}]'
        store.execute("UPDATE curated.items SET _anomalies = %s WHERE number = 1", mark)
        assert [r["anomalies"] for r in store.page().records] == [
            [{"column": "price", "of": "value", "score": 9}, {"column": "owner", "of": "value"}],
            None,
        ]
    finally:
        store.execute("ALTER TABLE curated.items DROP COLUMN _anomalies")


# --- personal values -------------------------------------------------------------------------


def test_personal_values_are_masked_and_nobody_asks_by_them(store):
    store.rows({"owner": "Ada"}, {"number": 2})
    found = store.page().records
    assert [r["values"]["owner"] for r in found] == ["***", None]
    assert store.record(found[0]["id"])["values"]["owner"] == "***"
    for query in ({"sort": "owner"}, {"sort": "-owner"}, {"filters": ("owner:prefix:A",)}):
        with pytest.raises(RequestRefused, match="owner of items is personal") as raised:
            store.page(**query)
        assert raised.value.where["status"] == 403


def test_who_may_see_them_sees_them_and_asks_by_them(store):
    store.rows({"owner": "Ada"}, {"number": 2, "owner": "Grace"})
    assert [r["values"]["owner"] for r in store.page(unmasked=True, sort="-owner").records] == ["Grace", "Ada"]
    assert store.keys(unmasked=True, filters=("owner:eq:Ada",)) == [("a", 1)]


def test_of_a_source_with_personal_columns_a_column_that_came_later_is_masked_too(store):
    store.rows({})
    store.execute("ALTER TABLE curated.items ADD COLUMN nickname text DEFAULT 'Countess'")
    try:
        assert store.page().records[0]["values"]["nickname"] == "***"
        assert store.page(unmasked=True).records[0]["values"]["nickname"] == "Countess"
    finally:
        store.execute("ALTER TABLE curated.items DROP COLUMN nickname")


def test_a_personal_key_would_be_in_every_id_so_its_records_are_for_admins(store):
    with pytest.raises(RequestRefused, match="email of secrets is personal"):
        store.page(source="secrets")
    assert store.page(source="secrets", unmasked=True).records == []


# --- whatever is sent ------------------------------------------------------------------------

ATTACKS = [
    "'; DROP TABLE curated.items; --",
    '"; DROP TABLE curated.items; --',
    "1 OR 1=1",
    "1) UNION SELECT token FROM pipeline.api_tokens --",
    "price); DELETE FROM curated.items; --",
    "%(a0)s",
    "%s",
    "{columns}",
    "$1",
    "\\'; SELECT pg_sleep(10); --",
    "'||(SELECT version())||'",
    "t.*",
    "ctid",
    "_fingerprint",
    "\x00",
    "\ud800",
]
TEXTS = st.one_of(st.sampled_from(ATTACKS), st.text(max_size=20))
NAMED = st.one_of(st.sampled_from(NAMES), TEXTS)
PARTS = st.tuples(NAMED, st.one_of(st.sampled_from(["eq", "ne", "lt", "in", "null", "prefix"]), TEXTS), TEXTS)
SENT = st.fixed_dictionaries(
    {},
    optional={
        "source": st.one_of(st.just("items"), TEXTS),
        "table": TEXTS,
        "filters": st.lists(st.one_of(PARTS.map(":".join), TEXTS), max_size=3).map(tuple),
        "sort": st.one_of(NAMED, NAMED.map("-{}".format)),
        "limit": st.integers(-1, 1001),
        "after": st.lists(st.one_of(TEXTS, st.integers(), st.none()), max_size=3),
    },
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SENT, TEXTS)
def test_whatever_stands_in_a_parameter_is_a_value_or_refused_and_changes_nothing(store, sent, id):
    if not store.execute("SELECT count(*) FROM curated.items WHERE owner = 'kept'")[0][0]:
        store.rows({"owner": "kept"}, {"number": 2, "owner": "kept"})
    before = store.execute("SELECT count(*), max(xmin::text) FROM curated.items")
    for ask in (lambda: store.page(**sent).records, lambda: [store.record(id)]):
        try:
            found = ask()
        except (ContractError, NotFound, RequestRefused, UnknownSource):
            continue
        assert {r["values"]["owner"] for r in found} <= {"***"}
    assert store.execute("SELECT count(*), max(xmin::text) FROM curated.items") == before


@pytest.mark.parametrize("place", ["value", "list", "prefix", "position"])
@pytest.mark.parametrize("attack", ATTACKS[:13])
def test_what_looks_like_sql_is_compared_as_the_text_that_it_is(store, attack, place):
    store.rows({"shelf": attack}, {"shelf": f"{attack}x"}, {"shelf": "zz"})
    quoted = '"{}"'.format(attack.replace('"', '""'))
    filters = {"value": f"shelf:eq:{attack}", "list": f"shelf:in:{quoted}", "prefix": f"shelf:prefix:{attack}"}
    if place == "position":
        first = store.page(filters=(filters["prefix"],), limit=1)
        assert first.position == [attack, 1]
        found = store.page(first.position, filters=(filters["prefix"],)).records
        assert [r["values"]["shelf"] for r in found] == [f"{attack}x"]
    else:
        found = store.keys(filters=(filters[place],))
        assert found == [(attack, 1), (f"{attack}x", 1)][: 2 if place == "prefix" else 1]


def test_a_page_of_a_day_by_the_key_reads_the_rows_of_the_page_alone(store):
    store.execute("TRUNCATE curated.items")
    store.execute(
        "INSERT INTO curated.items (shelf, number, day, _run_id, _raw, _fingerprint, _loaded_at)"
        " SELECT 'a', n, date '2026-01-01' + mod(n, 200), 'r', '0:1', n, now() FROM generate_series(1, 20000) AS n"
    )
    own = connection.connect(store.url)
    own.autocommit = True
    with contextlib.closing(own), own.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE curated.items")
        day = dt.date(2026, 1, 2)
        listing = records.listing(own, Query("items", first=day, last=day, limit=10))
        [part] = listing._parts(None)
        values = {"limit": 11, **part.values}
        for condition in listing.wanted:
            values |= condition.values
        text = listing._statement(part).as_string(cursor)
        cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + text, values)
        [[explained]] = cursor.fetchone()
    found = [node for node in nodes(explained["Plan"]) if "Index Name" in node or "Relation Name" in node]
    rows = {node["Node Type"]: node["Actual Rows"] * node["Actual Loops"] for node in found}
    assert rows == {"Index Only Scan": 100, "Index Scan": 11}


def nodes(plan):
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)
