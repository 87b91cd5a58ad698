"""What in a text answers the query is marked, and a text that is markup stays text."""

import html
import re

from hypothesis import given
from hypothesis import strategies as st

from chalicelib.search import highlight
from chalicelib.search.highlight import Excerpt

TEXTS = st.text(st.sampled_from("ab<>&\"'/= _.-\n猫1"), max_size=60)


def marked(text, *asked):
    excerpt = highlight.excerpt(text, 0, asked)
    return [text[start:end] for start, end in excerpt.marks]


def test_each_occurrence_of_a_word_is_marked_and_no_part_of_another():
    assert marked("A tap, taps and the tap.", "tap") == ["tap", "tap"]
    assert marked("snake_case and snake", "snake") == ["snake", "snake"]
    assert marked("nothing of it", "tap") == []


def test_what_is_one_word_though_it_has_signs_is_marked_whole():
    text = "Write to ada@example.org or see example.org/a."
    assert marked(text, "ada@example.org", "example") == ["ada@example.org", "example"]


def test_a_text_of_markup_is_escaped_and_its_marks_are_the_only_tags():
    text = '<script>alert("tap")</script> & tap'
    excerpt = highlight.excerpt(text, 0, {"tap"})
    assert excerpt.html == ("&lt;script&gt;alert(&quot;<mark>tap</mark>&quot;)&lt;/script&gt; &amp; <mark>tap</mark>")


@given(TEXTS, st.sets(st.sampled_from(["a", "b", "ab", "ba", "猫", "1", "a.b"])))
def test_the_html_is_the_escaped_text_with_balanced_marks(text, asked):
    excerpt = highlight.excerpt(text, 0, asked)
    assert html.unescape(re.sub("</?mark>", "", excerpt.html)) == text
    assert re.findall("<[^>]*>", excerpt.html) == ["<mark>", "</mark>"] * len(excerpt.marks)
    ends = [0, *(place for mark in excerpt.marks for place in mark)]
    assert ends == sorted(ends) and all(start < end for start, end in excerpt.marks)
    assert {text[start:end] for start, end in excerpt.marks} <= asked
    assert "".join(piece for piece, _ in excerpt.pieces()) == text


@given(TEXTS)
def test_every_word_of_a_text_may_be_marked(text):
    words = highlight.words(text)
    assert set(re.findall(r"[^\W_]+", text)) <= words
    excerpt = highlight.excerpt(text, 0, words)
    assert not re.search(r"[^\W_]", "".join(piece for piece, is_marked in excerpt.pieces() if not is_marked))


def test_the_passage_is_what_is_shown_and_marks_are_counted_from_its_beginning():
    text = "One tap. Another tap here."
    assert highlight.excerpt(text[9:26], 9, {"tap"}) == Excerpt("Another tap here.", 9, ((8, 11),))


def test_of_a_long_text_the_part_with_most_of_the_words_is_shown():
    filler = "Nothing to see in this sentence at all. " * 40
    text = filler + "A tap drips. " + filler + "A washer mends a tap. " + filler + "tap tap tap tap"
    best = highlight.best(text, {"tap", "washer"})
    assert "washer mends a tap" in best.text and text[best.start :].startswith(best.text)
    assert len(best.text) <= highlight.EXCERPT_CHARACTERS


def test_a_text_without_any_of_the_words_shows_its_beginning():
    assert highlight.best("Some words. " * 100, set()).start == 0
    assert highlight.best("", {"tap"}) == Excerpt("", 0)
