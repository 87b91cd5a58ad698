"""GET /search and `sluice search`: what a search found, as the API's route answers it and as a terminal shows it."""

import json

import click.testing
import pytest
from searchable_notes import Letters, Silent, connect, declare, embed, put

from chalicelib.api import answering, callers, problems, searching, table
from chalicelib.warehouse import reader
from cli import search
from cli.main import main

ROUTE = next(route for route in table.ROUTES if route.path == "/search")


@pytest.fixture
def notes(database_url, monkeypatch):
    """Three notes, embedded; the route reads them as the API does."""
    declared = declare(monkeypatch)
    connection = connect(database_url)
    put(connection, (1, "<b>tap</b>", "x \x1b[31m red"), (2, "pat", "A \u202e taps"), (3, "zzz", None))
    embed(connection, declared["notes"])
    connection.close()
    read = reader.transaction
    monkeypatch.setattr(reader, "transaction", lambda *_: read(database_url))
    monkeypatch.setattr(searching.provider, "current", lambda *_, **__: Letters())
    return database_url


def ask(**query):
    given = {name: [value] for name, value in query.items()}
    arrived = answering.Arrived({}, given, {}, b"", callers.Caller("somebody", (table.READ,)))
    return json.loads(answering.answer(ROUTE, arrived).content)


def refused(**query):
    with pytest.raises(Exception) as raised:
        ask(**query)
    return problems.of(raised.value, "/search")


@pytest.mark.usefixtures("notes")
def test_the_route_answers_rows_with_their_scores_and_the_passage_that_matched():
    answer = ask(q="tap", source="notes", limit="2")
    assert (answer["query"], answer["mode"], answer["notes"]) == ("tap", "hybrid", [])
    assert [result["key"]["owner"] for result in answer["results"]] == ["***", "***"]
    assert all(result["parts"]["text"]["rank"] in (1, 2) for result in answer["results"])
    by_id = {result["key"]["id"]: result for result in ask(q="tap", mode="text", source="notes")["results"]}
    assert set(by_id) == {1, 2}
    assert by_id[1]["passage"]["html"].startswith("&lt;b&gt;<mark>tap</mark>&lt;/b&gt;")
    assert by_id[1]["passage"]["marks"] == [[3, 6]] and by_id[1]["passage"]["start"] == 0
    assert set(by_id[1]["parts"]) == {"text"}


@pytest.mark.usefixtures("notes")
@pytest.mark.parametrize(
    ("query", "status", "told"),
    [
        ({"q": " "}, 422, "blank"),
        ({"q": ""}, 422, "q: "),
        ({}, 422, "q: "),
        ({"q": "tap", "mode": "fuzzy"}, 422, "mode: "),
        ({"q": "tap", "limit": "0"}, 422, "limit: "),
        ({"q": "tap", "limit": "101"}, 422, "limit: "),
        ({"q": "tap", "source": "nosuch"}, 404, "nosuch"),
        ({"q": "tap", "source": "counts"}, 422, "counts has no text to search"),
    ],
    ids=lambda value: " ".join(value) or "none" if isinstance(value, dict) else None,
)
def test_what_cannot_be_searched_is_a_problem(query, status, told):
    problem = refused(**query)
    assert problem.status == status in (*ROUTE.problems, 422) and told in problem.document["detail"]


@pytest.mark.usefixtures("notes")
def test_a_model_out_of_reach_is_a_note_or_if_nothing_else_was_asked_for_a_503_and_its_words_stay_in_the_log(
    monkeypatch,
):
    monkeypatch.setattr(searching.provider, "current", lambda *_, **__: Silent())
    answer = ask(q="tap", source="notes")
    assert answer["results"] and "EmbeddingsUnavailable" in answer["notes"][0]
    problem = refused(q="tap", source="notes", mode="semantic")
    assert problem.status == 503 in ROUTE.problems
    assert "secret-of-the-log" not in json.dumps(answer) + json.dumps(problem.document)


# --- in a terminal ---------------------------------------------------------------------------


@pytest.fixture
def typed(notes, monkeypatch):
    """typed(*arguments, color=False) is what `sluice search` prints, errors and notes apart."""
    session = type("Session", (), {"database_url": notes, "settings": None})
    monkeypatch.setattr(search, "connect", lambda: session)

    def run(*arguments, color=False):
        return click.testing.CliRunner().invoke(main, ["search", *arguments], color=color)

    return run


def test_words_are_highlighted_in_a_terminal_and_nowhere_else(typed):
    found = typed("tap", "--source", "notes", "--mode", "text", color=True)
    assert "\x1b[33m\x1b[1mtap\x1b[0m" in found.stdout
    plain = typed("tap", "--source", "notes", "--mode", "text")
    assert "\x1b" not in plain.stdout and "notes owner ***, id 1" in plain.stdout and "text #" in plain.stdout


def test_a_text_cannot_command_the_terminal(typed):
    shown = typed("tap", "--source", "notes", "--mode", "text", color=True).stdout
    assert "[31m red" in shown and "\x1b[31m" not in shown and "\u202e" not in shown


def test_json_is_what_the_route_answers(typed):
    assert json.loads(typed("tap", "--source", "notes", "--json").stdout) == ask(q="tap", source="notes")


def test_notes_are_no_output(typed):
    found = typed("nosuchword", "--source", "notes", "--mode", "text")
    assert found.stdout == "" and found.stderr.startswith("note: nothing was found")


def test_of_a_long_passage_what_is_marked_is_shown():
    from chalicelib.search.highlight import Excerpt

    text = "before " * 100 + "tap" + " after" * 100
    shown = click.unstyle(search._excerpt(Excerpt(text, 0, ((700, 703),))))
    assert "tap" in shown and shown.startswith("… ") and shown.endswith(" …") and len(shown) <= 304
