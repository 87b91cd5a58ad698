"""A long text is divided at the ends of its paragraphs and sentences, into what a model reads whole."""

import functools
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.embeddings import minilm, passages
from chalicelib.embeddings.minilm import MiniLM
from chalicelib.embeddings.passages import Passage, by_characters

PIECES = st.sampled_from(
    [
        "a",
        "word",
        "Größe",
        "e\u0301",
        "猫",
        "🐈",
        "한국어",
        ". ",
        "! ",
        "。",
        "\n",
        "\n\n",
        " \n \n",
        "  ",
        "\u00a0",
        '."',
        "x" * 40,
    ]
)
TEXTS = st.lists(PIECES, max_size=200).map("".join)


def parts(text, window):
    return [passage.of(text) for passage in by_characters(text, window)]


@given(TEXTS | st.text(max_size=300), st.integers(1, 60))
def test_nothing_is_lost_and_no_passage_is_longer_than_the_window(text, window):
    found = by_characters(text, window)
    covered = set()
    for passage in found:
        assert 0 < passage.length <= window
        assert passage.of(text) == passage.of(text).strip() != ""
        covered |= set(range(passage.start, passage.start + passage.length))
    assert all(character.isspace() for place, character in enumerate(text) if place not in covered)
    assert [p.start for p in found] == sorted({p.start for p in found})
    ends = [p.start + p.length for p in found]
    assert ends == sorted(set(ends))


@given(TEXTS, st.integers(8, 60))
def test_a_passage_repeats_no_more_than_an_eighth_of_the_one_before_it(text, window):
    found = by_characters(text, window)
    for before, after in itertools.pairwise(found):
        repeated = before.start + before.length - after.start
        assert repeated <= -(-window // passages.OVERLAP)


@pytest.mark.parametrize("blank", ["", " ", "\n\u00a0\u3000"])
def test_a_blank_text_has_no_passage(blank):
    assert by_characters(blank, 10) == []


def test_a_short_text_is_one_passage():
    assert by_characters("All of it. Really.", 100) == [Passage(0, 18)]


def test_a_paragraph_is_preferred_to_a_sentence_and_a_sentence_to_a_word():
    assert parts("One two three. Four five.\n\nSix seven. Eight nine ten", 40) == [
        "One two three. Four five.",
        "Six seven. Eight nine ten",
    ]
    assert parts("One two three four. Five six seven eight", 25) == ["One two three four.", "Five six seven eight"]
    assert parts("one two three four five six", 12)[0] == "one two"
    assert parts("abcdefghij", 4) == ["abcd", "efgh", "ij"]


def test_a_line_and_a_closing_quote_end_a_sentence_and_so_does_a_full_stop_without_a_space_behind_it():
    assert parts("The title of it\nand what follows it here", 25)[0] == "The title of it"
    assert parts('She said "it is over." Then she left us', 30)[0] == 'She said "it is over."'
    assert parts("猫は好きです。犬も好きです。鳥は", 10)[0] == "猫は好きです。"


def test_what_stands_across_a_cut_is_in_one_passage():
    text = " ".join(f"Sentence {number} says little." for number in range(100))
    found = parts(text, 400)
    assert all(one.split(". ")[-1] in two for one, two in itertools.pairwise(found)) and len(found) > 4


# --- by tokens -------------------------------------------------------------------------------


@functools.cache
def tokenizer():
    return minilm._load(MiniLM()._folder)[0]


@given(st.lists(PIECES | st.text(max_size=5), max_size=1500).map("".join))
def test_no_passage_has_more_tokens_than_minilm_reads_and_none_is_lost(text):
    found = MiniLM().passages(text)
    covered = set()
    for passage in found:
        assert len(tokenizer().encode(passage.of(text)).ids) <= minilm.MAX_TOKENS
        covered |= set(range(passage.start, passage.start + passage.length))
    assert all(character.isspace() for place, character in enumerate(text) if place not in covered)


@pytest.mark.parametrize(
    "text",
    ["x" * 5000, "한국어를 " * 500, "🐈 " * 3000, "a" * 99 + "猫" * 2000],
    ids=["word", "hangul", "emoji", "mixed"],
)
def test_what_has_no_sentences_is_read_too(text):
    found = MiniLM().passages(text)
    assert len(found) > 1 and sum(passage.length for passage in found) >= len(text.replace(" ", ""))
    assert all(len(tokenizer().encode(passage.of(text)).ids) <= minilm.MAX_TOKENS for passage in found)


def test_a_long_prose_fills_the_window():
    text = " ".join(f"The {number}th of the night trains leaves at ten." for number in range(400))
    lengths = [len(tokenizer().encode(passage.of(text)).ids) for passage in MiniLM().passages(text)]
    assert min(lengths[:-1]) > 0.9 * minilm.MAX_TOKENS
