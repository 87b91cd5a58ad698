"""What is read eight bytes at a time is what reading byte by byte finds, at either end of the text too."""

import datetime as dt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.conversion.words import Words, number_at


def places(*numbers):
    return np.array(numbers, dtype=np.int64)


@given(st.binary(min_size=8, max_size=40), st.data())
def test_a_word_is_what_stands_there_and_zeros_beyond_the_end(text, data):
    start = data.draw(st.integers(0, len(text) + 20))
    length = data.draw(st.integers(0, 8))
    expected = int.from_bytes(text[start : start + length], "little")
    assert Words(text).at(places(start), places(length)).tolist() == [expected]


@given(st.text("ab", min_size=8, max_size=40), st.text("ab", min_size=1, max_size=20), st.integers(0, 40))
def test_a_text_is_said_where_it_stands(text, said, start):
    assert Words(text.encode()).are(places(start), said.encode()).tolist() == [text.startswith(said, start)]


@given(st.text("ab.", min_size=8, max_size=30), st.integers(0, 30))
def test_the_first_of_a_byte_is_found_among_sixteen(text, start):
    before = text[start : start + 16].find(".")
    assert Words(text.encode()).until(ord("."), places(start)).tolist() == [16 if before < 0 else before]


@given(st.lists(st.text("0123456789./:e-\x00\xff", max_size=20), min_size=1, max_size=9))
def test_digits_are_those_that_python_reads(texts):
    text = "|".join(texts) + "|" + "9" * 8
    sizes = [len(each.encode("latin-1")) for each in texts]
    start = places(*(sum(sizes[:at]) + at for at in range(len(sizes))))
    numbers, fit = Words(text.encode("latin-1")).digits(start, places(*sizes))
    assert fit.tolist() == [1 <= len(each) <= 18 and each.isascii() and each.isdigit() for each in texts]
    assert [number for number, fits in zip(numbers.tolist(), fit, strict=True) if fits] == [
        int(each) for each, fits in zip(texts, fit, strict=True) if fits
    ]


@given(st.dates())
def test_pairs_of_digits_are_numbers(day):
    pairs, fits = Words(f"{day}T".encode()).pairs(places(0), b"0000-00-")
    assert fits.all()
    assert dt.date(number_at(pairs, 0)[0] * 100 + number_at(pairs, 2)[0], number_at(pairs, 5)[0], day.day) == day


@pytest.mark.parametrize("text", ["2024_02-29", "2024-0:-29", "2024-/2-29", "\xb2024-02-29", "2024-02\xad29"])
def test_what_is_of_another_form_is_no_pairs(text):
    assert not Words(text.encode("latin-1")).pairs(places(0), b"0000-00-")[1].any()
