"""Posts: paging until the last page, and noticing when the pages do not add up."""

from __future__ import annotations

import json

import pytest
from loopback import serving
from werkzeug.wrappers import Request, Response

from chalicelib import sources
from chalicelib.contracts import Window
from chalicelib.errors import NotFound, SourceError, SourceUnavailable
from chalicelib.http import Client
from chalicelib.settings import Settings
from local import sample_api


@pytest.fixture(scope="module")
def source():
    return sources.get("posts")


def pages(source, url, kind="post"):
    settings = Settings(sources_url=url)
    client = Client(source.hosts, settings, sleep=lambda seconds: None)
    return [json.loads(page.body.read()) for page in source.pages({"kind": kind}, client, settings)]


def listing(*answers):
    """An app that gives one (items, total, next page) per `_page`."""

    @Request.application
    def app(request):
        items, total, following = answers[int(request.args["_page"]) - 1]
        headers = {} if total is None else {"X-Total-Count": str(total)}
        if following:
            headers["Link"] = f'<{request.base_url}?_page={following}>; rel="next"'
        return Response(json.dumps(items), headers=headers, content_type="application/json")

    return app


def post(number):
    return {"userId": 1, "id": number, "title": "t", "body": "b"}


def test_posts_and_comments_are_a_partition_each(source):
    assert source.partitions(Window(), None, Settings()) == [{"kind": "post"}, {"kind": "comment"}]
    assert source.partitions(Window(), "comment", Settings()) == [{"kind": "comment"}]


def test_an_unknown_kind_is_refused(source):
    with pytest.raises(NotFound, match=r"'likes'.*--input post"):
        source.partitions(Window(), "likes", Settings())


@pytest.mark.parametrize(("kind", "items"), [("post", 100), ("comment", 300)])
def test_every_page_is_fetched(source, kind, items):
    with serving(sample_api.app) as url:
        fetched = pages(source, url, kind)
    assert len(fetched) == items / 50
    assert [item["id"] for page in fetched for item in page] == list(range(1, items + 1))


def test_both_kinds_become_the_declared_columns(source):
    (of_post,) = source.records([post(7)], {"kind": "post"})
    assert of_post == {"kind": "post", "id": 7, "post_id": 7, "user_id": 1, "title": "t", "body": "b"}
    comment = {"postId": 7, "id": 9, "name": "n", "email": "e@example.org", "body": "b"}
    (of_comment,) = source.records([comment], {"kind": "comment"})
    assert of_comment == {
        "kind": "comment", "id": 9, "post_id": 7, "title": "n", "email": "e@example.org", "body": "b"
    }  # fmt: skip
    assert {*of_post, *of_comment} == set(source.column_names)


def test_what_is_no_object_is_passed_on_to_be_rejected(source):
    assert list(source.records([post(1), "x", None], {"kind": "post"}))[1:] == ["x", None]


@pytest.mark.parametrize(("second", "arrived"), [([post(3)], 3), ([post(2)], 2), ([], 2)])
def test_pages_that_changed_underneath_are_noticed(source, second, arrived):
    app = listing(([post(1), post(2)], 4, 2), (second, 4, None))
    with serving(app) as url, pytest.raises(SourceUnavailable, match=f"{arrived} of 4 posts arrived"):
        pages(source, url)


def test_the_last_page_says_how_many_there_are(source):
    with serving(listing(([post(1)], 2, 2), ([post(2), post(3)], 3, None))) as url:
        assert len(pages(source, url)) == 2


def test_a_listing_without_a_count_is_taken_as_it_comes(source):
    with serving(listing(([post(1)], None, None))) as url:
        assert pages(source, url) == [[post(1)]]


def test_links_that_lead_in_a_circle_come_to_an_end(source):
    app = listing(([post(1)], 2, 2), ([post(2)], 2, 1))
    with serving(app) as url, pytest.raises(SourceError, match="circle"):
        pages(source, url)


def test_a_next_page_on_another_host_is_not_followed(source):
    @Request.application
    def app(request):
        return Response("[]", headers={"Link": '<https://elsewhere.example.com/posts>; rel="next"'})

    with serving(app) as url, pytest.raises(SourceError, match="another host"):
        pages(source, url)


@pytest.mark.parametrize(
    ("body", "message"),
    [('{"posts": []}', "expected an array"), ('[{"id": 1', "not JSON"), ("null", "expected an array")],
)
def test_an_answer_that_is_no_array_is_quoted(source, body, message):
    with serving(Response(body)) as url, pytest.raises(SourceError, match=message) as raised:
        pages(source, url)
    assert body[:5] in str(raised.value)
