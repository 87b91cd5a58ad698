"""The OpenAPI document is valid, tells of every route all that the table does, and the page shows all of it."""

import html.parser
import json

import pytest
from click.testing import CliRunner
from openapi_spec_validator import OpenAPIV31SpecValidator

from chalicelib.api import openapi, page, problems, table
from chalicelib.errors import RequestRefused
from cli.main import main

ADDRESS = "https://a1b2.execute-api.eu-west-1.amazonaws.com/api"


@pytest.fixture(scope="module")
def document():
    # as a client gets it: JSON
    return json.loads(json.dumps(openapi.document(ADDRESS)))


def test_it_is_a_valid_document_of_openapi_3_1(document):
    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"].startswith("3.1.")


@pytest.mark.parametrize("route", table.ROUTES, ids=lambda route: route.name)
def test_it_tells_of_a_route_what_the_table_does(document, route):
    told = document["paths"][route.path][route.method.lower()]
    assert bool(told["security"]) == (route.scope is not None)
    assert told.get("x-scope") == route.scope
    statuses = {int(status) for status in told["responses"]}
    assert {route.status, *route.problems, 500, 503, 504, 429} <= statuses
    assert (403 in statuses) == (route.scope is not None)
    assert (401 in statuses) == (route.scope is not None or 401 in route.problems)
    assert (415 in statuses) == ("requestBody" in told) == (route.body is not None)
    assert set(told["responses"][str(route.status)]["content"]) == set(route.media)
    places = {parameter["name"]: parameter["in"] for parameter in told.get("parameters", ())}
    assert {name for name, place in places.items() if place == "path"} == set(route.path_parameters)


def test_no_two_models_have_one_name(document):
    # pydantic would put their modules before it
    assert not [name for name in document["components"]["schemas"] if "__" in name]


def test_no_route_is_told_of_that_there_is_not(document):
    told = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert told == {(route.method, route.path) for route in table.ROUTES}


def test_a_parameter_that_need_not_be_given_is_not_said_to_be_null(document):
    parameters = [
        p for methods in document["paths"].values() for m in methods.values() for p in m.get("parameters", ())
    ]
    assert any(not parameter["required"] for parameter in parameters)
    assert not [parameter for parameter in parameters if "null" in json.dumps(parameter["schema"])]


def test_a_problem_is_what_the_document_says_it_is():
    refused = RequestRefused("x", status=422, reason="invalid", errors=[{"in": "query", "name": "n", "detail": "d"}])
    for error in (refused, ValueError("x"), RequestRefused("y", status=404, reason="z")):
        found = problems.of(error, "/runs").document
        assert openapi.Problem.model_validate(found).model_dump(exclude_none=True, by_alias=True) == found


class Links(html.parser.HTMLParser):
    """What a page loads, runs and links to."""

    def __init__(self):
        super().__init__()
        self.tags, self.to, self.ids = set(), set(), set()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        about = dict(attributes)
        self.to |= {about[name] for name in ("href", "src") if name in about}
        self.ids |= {about["id"]} if "id" in about else set()


def test_the_page_shows_every_route_loads_nothing_and_all_its_links_lead_somewhere(document):
    text = page.html(document)
    found = Links()
    found.feed(text)
    assert not found.tags & {"script", "link", "img", "iframe"}
    assert found.to == {f"#{name}" for name in (link[1:] for link in found.to)}
    assert {link[1:] for link in found.to} <= found.ids
    for route in table.ROUTES:
        assert f"{ADDRESS}{route.path}" in text and route.name in found.ids


def test_both_are_written_without_a_stack(tmp_path, document):
    run = CliRunner().invoke
    for command, suffix in (("openapi", "json"), ("docs", "html")):
        path = tmp_path / f"api.{suffix}"
        done = run(main, ["api", command, str(path), "--address", ADDRESS])
        assert done.exit_code == 0, done.output
        assert path.read_text()
    assert json.loads((tmp_path / "api.json").read_text()) == document
    assert json.loads(run(main, ["api", "openapi"]).output)["servers"] == [{"url": "/"}]
