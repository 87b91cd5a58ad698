"""Listings page by page, and logins by client credentials, against servers that divide them in their own ways."""

import base64
import json

import pytest
from loopback import serving
from werkzeug.wrappers import Request, Response

from chalicelib import login, paging
from chalicelib.errors import ConfigurationError, SourceError
from chalicelib.http import Client
from chalicelib.settings import Settings

CLIENT = "a+b"
SECRET = "s3cret:with/colon"


@pytest.fixture
def client():
    return Client(["127.0.0.1"], Settings(), sleep=lambda seconds: None)


def items_of(pages):
    return [item for answer in pages for item in answer.document["items"]]


def app(respond):
    return Request.application(respond)


def test_links_are_followed_to_the_last_page(client):
    @app
    def serve(request):
        page = int(request.args["page"])
        link = {"Link": f'</x?page={page + 1}&size=2>; rel="next"'} if page < 3 else {}
        return Response(json.dumps({"items": [page, request.args["size"]]}), headers=link)

    with serving(serve) as url:
        answers = list(paging.by_link(client, f"{url}/x", {"page": 1, "size": 2}))
    assert items_of(answers) == [1, "2", 2, "2", 3, "2"]
    assert json.loads(answers[0].page().body.read()) == answers[0].document


def test_links_in_a_circle_come_to_an_end(client):
    @app
    def serve(request):
        return Response('{"items": []}', headers={"Link": '</x?page=1>; rel="next"'})

    with serving(serve) as url, pytest.raises(SourceError, match="in a circle"):
        list(paging.by_link(client, f"{url}/x"))


def test_numbered_pages_end_with_an_empty_one(client):
    @app
    def serve(request):
        page = int(request.args["p"])
        return Response(json.dumps({"items": [page] if page < 4 else [], "of": request.args["of"]}))

    with serving(serve) as url:
        found = paging.by_number(client, f"{url}/x", lambda d: d["items"], {"of": "a"}, parameter="p", first=2)
        assert items_of(found) == [2, 3]


def test_cursors_are_handed_on_and_one_that_repeats_is_refused(client):
    following = {None: "b", "b": "c", "c": None}

    @app
    def serve(request):
        at = request.args.get("after")
        return Response(json.dumps({"items": [at], "next": following[at]}))

    with serving(serve) as url:
        cursor = lambda document: document["next"]  # noqa: E731
        assert items_of(paging.by_cursor(client, url, cursor, parameter="after")) == [None, "b", "c"]
        following["c"] = "b"
        with pytest.raises(SourceError, match="that of an earlier one"):
            list(paging.by_cursor(client, url, cursor, parameter="after"))


def test_a_page_that_is_no_json_is_quoted(client):
    with serving(Response("[1, 2")) as url, pytest.raises(SourceError, match=r"not JSON.*begins b'\[1, 2'"):
        list(paging.by_link(client, url))


# --- logins ----------------------------------------------------------------------------------


def test_a_client_logs_in_with_its_id_and_secret(client):
    seen = []

    @app
    def serve(request):
        seen.append((request.headers["Authorization"], dict(request.form)))
        return Response(json.dumps({"access_token": "abcdefgh", "token_type": "Bearer", "expires_in": 3600}))

    with serving(serve) as url:
        header = login.client_credentials(client, f"{url}/token", f"{CLIENT}:{SECRET}", scope="read")
    assert header == {"Authorization": "Bearer abcdefgh"}
    [(authorization, form)] = seen
    assert base64.b64decode(authorization.removeprefix("Basic ")).decode() == "a%2Bb:s3cret%3Awith%2Fcolon"
    assert form == {"grant_type": "client_credentials", "scope": "read"}


@pytest.mark.parametrize(
    "body", ["nothing", "[]", '{"access_token": 1, "token_type": "bearer"}', '{"access_token": "abc"}']
)
def test_an_answer_without_a_token_is_refused_and_not_quoted(client, body):
    with serving(Response(body)) as url, pytest.raises(SourceError, match="no bearer token") as raised:
        login.client_credentials(client, url, f"{CLIENT}:{SECRET}")
    assert "abc" not in str(raised.value)


def test_a_login_that_is_refused_repeats_no_secret(client):
    @app
    def serve(request):
        return Response(json.dumps({"error": f"bad {request.headers['Authorization']}"}), 401)

    with serving(serve) as url, pytest.raises(SourceError, match="answered 401") as raised:
        login.client_credentials(client, url, f"{CLIENT}:{SECRET}")
    assert base64.b64encode(b"a%2Bb")[:6].decode() not in str(raised.value)


@pytest.mark.parametrize("credentials", ["", "id", ":secret", "id:"])
def test_credentials_of_another_form_are_refused_without_being_quoted(client, credentials):
    with pytest.raises(ConfigurationError, match="id:secret"):
        login.client_credentials(client, "https://login.example.com", credentials)
