"""What a run has loaded is found by its text, on the command line and over HTTP, the same in both."""

import json
import urllib.error
import urllib.parse
import urllib.request
import uuid

import pytest

from chalicelib.api import tokens
from chalicelib.warehouse import connection


@pytest.fixture(scope="module")
def posts(pipeline):
    run = pipeline.run("posts", embed=True)
    assert run.status == "SUCCEEDED"
    return run


@pytest.fixture(scope="module")
def token(pipeline):
    with connection.transaction(pipeline.env["DATABASE_URL"]) as opened:
        return tokens.create(opened, f"search-{uuid.uuid4().hex[:8]}", ("read",))


def get(pipeline, token, **query):
    """(status, JSON) of GET /search."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    address = f"{pipeline.env['SLUICE_API_URL']}/search?{urllib.parse.urlencode(query)}"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(address, headers=headers), timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def found(pipeline, *arguments):
    return json.loads(pipeline.sluice("search", *arguments, "--json").stdout)


@pytest.mark.usefixtures("posts")
@pytest.mark.parametrize(
    ("question", "title"),
    [
        ("how can I mend a leaking faucet?", "A dripping tap costs a washer"),
        ("seeing the rings of a planet", "Saturn through a small telescope"),
        ("my lettuces are being eaten by molluscs", "Slugs and the lettuce"),
        ("storing prices in a column", "Money does not belong in floats"),
    ],
)
@pytest.mark.parametrize("mode", ["semantic", "hybrid"])
def test_a_question_finds_the_post_that_answers_it_in_other_words(pipeline, question, title, mode):
    results = found(pipeline, question, "--source", "posts", "--mode", mode, "--limit", "5")["results"]
    assert any(title in result["passage"]["text"] for result in results)
    assert len(results) == 5


@pytest.mark.usefixtures("posts")
def test_the_api_answers_what_the_command_line_does(pipeline, token):
    words = "a dripping tap"
    assert get(pipeline, token, q=words, limit=3) == (200, found(pipeline, words, "--limit", "3"))
    status, answer = get(pipeline, token, q=words, mode="text", source="posts", limit=1)
    assert status == 200 and answer["notes"] == []
    [result] = answer["results"]
    assert result["source"] == "posts" and set(result["key"]) == {"kind", "id"} and set(result["parts"]) == {"text"}
    marked = {result["passage"]["text"][start:end].lower() for start, end in result["passage"]["marks"]}
    assert {"dripping", "tap"} <= marked
    assert "<mark>" in result["passage"]["html"]


@pytest.mark.usefixtures("posts")
def test_what_cannot_be_searched_is_a_problem_that_says_why(pipeline, token):
    assert get(pipeline, None, q="tap")[0] == 401
    for query, status, told in (
        ({"q": " "}, 422, "blank"),
        ({}, 422, "q"),
        ({"q": "tap", "mode": "fuzzy"}, 422, "mode"),
        ({"q": "tap", "limit": 1000}, 422, "limit"),
        ({"q": "tap", "source": "weather"}, 422, "weather has no text to search"),
        ({"q": "tap", "source": "nosuch"}, 404, "nosuch"),
        ({"q": "tap", "colour": "red"}, 422, "colour"),
    ):
        answered, problem = get(pipeline, token, **query)
        assert (answered, told in problem["detail"]) == (status, True), problem
    assert "blank" in pipeline.sluice("search", " ", status=1).stderr


@pytest.mark.usefixtures("posts")
def test_the_command_line_shows_rows_with_their_scores_and_notes_apart(pipeline):
    told = pipeline.sluice("search", "dripping tap", "--source", "posts", "--mode", "text", "--limit", "1")
    first, excerpt = told.stdout.splitlines()
    assert "posts kind post, id " in first and "text #1" in first
    assert "tap" in excerpt and "\x1b" not in told.stdout
    told = pipeline.sluice("search", "the of", "--mode", "text")
    assert told.stdout == "" and "none that count in its language, english" in told.stderr


@pytest.mark.usefixtures("posts")
def test_both_indexes_are_there_after_a_run(pipeline):
    definitions = pipeline.query(
        "SELECT indexdef FROM pg_indexes WHERE left(indexname, 16) = 'embeddings_posts'"
        " OR tablename = 'posts' AND indexdef ~ 'USING gin' ORDER BY 1"
    )
    hnsw, gin = (definition for (definition,) in definitions)
    assert "USING hnsw" in hnsw and "vector_cosine_ops" in hnsw
    assert "USING gin" in gin and "to_tsvector('english'::regconfig" in gin
