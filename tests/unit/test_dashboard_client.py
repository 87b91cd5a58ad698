"""The dashboard's client of the API: what it sends, and what it says where the API refuses or is away."""

import json
import socket
from types import SimpleNamespace

import pytest
from loopback import serving
from werkzeug import Request, Response

from chalicelib.api import table
from chalicelib.errors import RequestRefused, SourceUnavailable
from dashboard.client import Client


@pytest.fixture
def api():
    """`api.answers` are what it answers to each request in turn, `api.asked` what it was asked."""

    known = SimpleNamespace(answers=[], asked=[])

    @Request.application
    def answer(request):
        known.asked.append((request.method, request.environ["RAW_URI"], dict(request.headers), request.data))
        return known.answers.pop(0)

    with serving(answer) as known.address:
        yield known


def document(content, status=200):
    return Response(json.dumps(content), status, content_type="application/json")


def client(api):
    return Client(api.address, "sluice_token")


def test_the_token_goes_along_and_what_is_not_wanted_does_not(api):
    api.answers = [document({"runs": [], "next": None})]
    client(api).runs(source="weather", status=None, limit=5, page="")
    [(method, path, headers, _)] = api.asked
    assert (method, path) == ("GET", "/runs?source=weather&limit=5")
    assert headers["Authorization"] == "Bearer sluice_token"


def test_an_api_key_goes_along_where_there_is_one_and_is_asked_for_where_it_is_missing(api):
    api.answers = [document({"runs": []}), document({"runs": []}), document({"message": "Forbidden"}, 403)]
    Client(api.address, "sluice_token", "counted").runs()
    client(api).runs()
    assert [headers.get("X-Api-Key") for _, _, headers, _ in api.asked] == ["counted", None]
    with pytest.raises(RequestRefused, match="asks for an API key") as raised:
        client(api).runs()
    assert "SLUICE_API_KEY" in raised.value.next_step


def test_a_name_is_one_part_of_the_path_whatever_it_holds(api):
    api.answers = [document({})]
    client(api).state("a/b?c", "Plan")
    assert api.asked[0][1] == "/runs/a%2Fb%3Fc/states/Plan"


def test_filters_are_sent_one_by_one(api):
    api.answers = [document({"records": [], "next": None})]
    client(api).records(source="weather", filter=["day:ge:2024-01-01", "station:in:Oslo,Seattle"])
    assert api.asked[0][1].count("filter=") == 2


def test_pages_are_followed_up_to_as_many_items_as_are_wanted(api):
    api.answers = [
        document({"records": [1, 2], "next": "/records?page=x"}),
        document({"records": [3, 4], "next": "/records?page=y"}),
    ]
    assert list(client(api).pages("/records", {"source": "a"}, "records", 3)) == [1, 2, 3]
    assert [asked[1] for asked in api.asked] == ["/records?source=a", "/records?page=x"]


def test_what_is_to_be_done_is_sent_as_json(api):
    api.answers = [document({"replays": []}, 202), document({"discarded": 2})]
    assert client(api).replay(run="r") == {"replays": []}
    assert client(api).discard(ids=[1, 2], why="tests") == {"discarded": 2}
    sent = [(method, path, headers["Content-Type"], json.loads(body)) for method, path, headers, body in api.asked]
    assert sent == [
        ("POST", "/quarantine/replay", "application/json", {"run": "r"}),
        ("POST", "/quarantine/discard", "application/json", {"ids": [1, 2], "why": "tests"}),
    ]


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_api_gateway_refuses_is_told_with_the_next_step(api, status):
    api.answers = [document({"message": "Unauthorized"}, status)]
    with pytest.raises(RequestRefused, match="does not know the token") as raised:
        client(api).sources()
    assert raised.value.where["status"] == status
    assert "sluice token create" in raised.value.next_step
    assert "sluice_token" not in str(raised.value)


NOT_ALLOWED = "User is not authorized to access this resource"


@pytest.mark.parametrize(
    ("ask", "scope"),
    [
        (lambda asked: asked.runs(source="weather"), "read"),
        (lambda asked: asked.state("weather-1", "Plan"), "read"),
        (lambda asked: asked.replay(run="r"), "run"),
        (lambda asked: asked.discard(run="r", why="tests"), "run"),
    ],
    ids=["list", "parameters", "replay", "discard"],
)
def test_a_token_without_the_scope_is_told_which_one_it_lacks(api, ask, scope):
    api.answers = [document({"Message": NOT_ALLOWED}, 403)]
    with pytest.raises(RequestRefused, match=f"the token lacks the scope '{scope}'") as raised:
        ask(client(api))
    assert raised.value.where == {"status": 403, "reason": "scope"} and f"--scope {scope}" in raised.value.next_step


def test_the_scopes_that_it_tells_of_are_those_of_the_routes():
    routes = [route for route in table.ROUTES if route.method == "GET" or route.path.startswith("/quarantine/")]
    needed = {(route.method, route.scope) for route in routes if route.scope}
    assert needed == {("GET", "read"), ("POST", "run")}


def test_a_token_that_is_denied_everything_is_none_that_the_api_knows(api):
    api.answers = [document({"Message": f"{NOT_ALLOWED} with an explicit deny"}, 403)]
    with pytest.raises(RequestRefused, match="does not know the token"):
        client(api).runs()


def test_a_route_that_the_api_does_not_have_is_no_unknown_token(api):
    api.answers = [document({"message": "Missing Authentication Token"}, 403)]
    with pytest.raises(RequestRefused, match="no such route") as raised:
        client(api).quarantine()
    assert raised.value.where["reason"] == "route"


def test_a_problem_is_told_in_the_apis_own_words(api):
    api.answers = [document({"detail": "limit: expected a whole number", "reason": "invalid"}, 422)]
    with pytest.raises(RequestRefused, match="limit: expected a whole number") as raised:
        client(api).runs()
    assert (raised.value.where["status"], raised.value.where["reason"]) == (422, "invalid")


def test_a_scope_that_is_missing_is_no_unknown_token(api):
    api.answers = [document({"detail": "the token has not the scope 'run'", "reason": "scope"}, 403)]
    with pytest.raises(RequestRefused, match="has not the scope 'run'"):
        client(api).replay(run="r")


@pytest.mark.parametrize(
    ("content", "status"), [(b"<html>", 502), (b"", 500), (b"[]", 500)], ids=["html", "no", "list"]
)
def test_a_refusal_that_is_no_problem_is_told_as_such(api, content, status):
    api.answers = [Response(content, status)]
    with pytest.raises(RequestRefused, match="did not say why") as raised:
        client(api).runs()
    assert raised.value.where["status"] == status


def test_an_answer_that_is_no_json_is_told_with_where_it_came_from(api):
    api.answers = [Response("<html>", 200)]
    with pytest.raises(RequestRefused, match=api.address):
        client(api).runs()


def test_an_api_that_is_away_is_told_with_its_address_and_the_next_step():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(SourceUnavailable, match=address) as raised:
            Client(address, "t").runs()
    assert "sluice up" in raised.value.next_step and "refused" in raised.value.quote


@pytest.mark.parametrize(
    ("location", "told"),
    [("https://login.example/start?state=of-one", "https://login.example/start"), (None, "nowhere")],
    ids=["login", "no-location"],
)
def test_an_address_that_sends_on_is_told_with_where_to_and_the_token_stays(api, location, told):
    api.answers = [Response("", 302, headers={"Location": location} if location else {})]
    with pytest.raises(RequestRefused, match=f"sends on to {told} instead") as raised:
        client(api).runs()
    assert raised.value.where["status"] == 302 and "SLUICE_API_URL" in raised.value.next_step
    assert "of-one" not in str(raised.value) and len(api.asked) == 1
