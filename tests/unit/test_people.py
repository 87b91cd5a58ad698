"""People: nested documents become flat rows, and of a login nothing is kept but its uuid."""

import json

import pytest
from loopback import serving

from chalicelib.contracts import Window
from chalicelib.errors import SourceError
from chalicelib.http import Client
from chalicelib.settings import Settings
from chalicelib.sources.people import PAGE_PEOPLE, PAGES, People
from local import sample_api, sample_people

REQUEST = {"seed": "sluice", "page": 2, "results": PAGE_PEOPLE}


@pytest.fixture(scope="module")
def source():
    return People()


@pytest.fixture(scope="module")
def settings():
    with serving(sample_api.app) as url:
        yield Settings(sources_url=url)


@pytest.fixture(scope="module")
def raw(source, settings):
    [page] = source.pages(REQUEST, Client(source.hosts, settings), settings)
    return page.body.read()


@pytest.fixture(scope="module")
def records(source, raw):
    return list(source.records(json.loads(raw), REQUEST))


def test_every_page_is_a_partition_and_another_seed_gives_other_people(source, settings):
    partitions = source.partitions(Window(), None, settings)
    assert [p["page"] for p in partitions] == list(range(1, PAGES + 1))
    assert {p["seed"] for p in source.partitions(Window(), "friends", settings)} == {"friends"}


def test_nothing_of_a_login_but_its_uuid_reaches_the_raw_layer(raw):
    people = json.loads(raw)["results"]
    assert len(people) == PAGE_PEOPLE
    assert {tuple(person["login"]) for person in people} == {("uuid",)}
    told = [sample_people.person("sluice", PAGE_PEOPLE + n)["login"] for n in range(PAGE_PEOPLE)]
    assert [person["login"]["uuid"] for person in people] == [login["uuid"] for login in told]
    for login in told:
        assert not any(login[name].encode() in raw for name in ("username", "salt", "md5", "sha1", "sha256"))


def test_records_are_flat_and_name_the_columns(source, records):
    assert [tuple(record) for record in records] == [source.column_names] * PAGE_PEOPLE
    first, person = records[0], sample_people.person("sluice", PAGE_PEOPLE)
    assert (first["uuid"], first["street_name"]) == (person["login"]["uuid"], person["location"]["street"]["name"])
    assert first["latitude"] == person["location"]["coordinates"]["latitude"]


def test_postcodes_are_numbers_or_strings_and_documents_may_be_missing(records):
    assert {type(record["postcode"]) for record in records} == {int, str}
    without = [record for record in records if record["id_value"] is None]
    assert without and {record["id_name"] for record in without} == {None}


@pytest.mark.parametrize("person", [{}, {"name": None, "location": {"street": 3}}, {"login": "none", "id": []}])
def test_a_person_of_another_form_has_nulls_in_place_of_what_is_missing(source, person):
    document = {"results": [person], "info": REQUEST}
    [record] = source.records(document, REQUEST)
    assert set(record.values()) == {None}


def test_what_is_no_object_is_left_to_be_rejected(source):
    assert source.records({"results": ["Ada", None], "info": REQUEST}, REQUEST) == ["Ada", None]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "no array `results`"),
        ({"results": {"name": "Ada"}, "info": REQUEST}, "no array `results`"),
        ({"results": [{"email": "ada@example.com"}]}, "`info` of the answer"),
        ({"results": [{"email": "ada@example.com"}], "info": {**REQUEST, "page": 1}}, "`info` of the answer"),
    ],
)
def test_an_answer_of_another_form_is_refused_and_not_quoted(source, document, words):
    with pytest.raises(SourceError) as raised:
        source.records(document, REQUEST)
    assert words in str(raised.value) and "page=2" in str(raised.value)
    assert "ada" not in str(raised.value).lower()


def test_a_page_that_is_no_json_is_refused_and_not_quoted(source):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "application/json")])
        return [b'{"results": [{"email": "ada@example.com"']

    with serving(app) as url:
        settings = Settings(sources_url=url)
        with pytest.raises(SourceError, match="not JSON") as raised:
            list(source.pages(REQUEST, Client(source.hosts, settings), settings))
    assert "ada" not in str(raised.value)


def test_the_same_seed_and_place_make_the_same_person_whatever_the_page_size(settings):
    from werkzeug.test import Client as Api

    api = Api(sample_api.app)
    whole = api.get("/randomuser.me/api/?results=10&page=1&seed=x").json["results"]
    pages = [api.get(f"/randomuser.me/api/?results=5&page={page}&seed=x").json["results"] for page in (1, 2)]
    assert pages[0] + pages[1] == whole
    assert len(api.get("/randomuser.me/api/?results=9999").json["results"]) == 1
    assert "error" in api.get("/randomuser.me/other").json
