import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.errors import RawError
from chalicelib.lake import arrays

texts = st.text(alphabet='a"\\[]{},:\n é', max_size=8)
elements = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def lines(data: bytes, block: int = 10**9) -> bytes:
    return b"".join(arrays.lines(iter([data[i : i + block] for i in range(0, len(data), block)]), "f"))


@given(st.lists(elements), st.sampled_from([None, 0, 2]), st.booleans(), st.integers(1, 40))
def test_every_element_becomes_a_line(array, indent, ascii_only, block):
    data = b" \n" + json.dumps(array, indent=indent, ensure_ascii=ascii_only).encode() + b"\r\n "
    found = lines(data, block)
    assert [json.loads(line) for line in found.split(b"\n")[:-1]] == array


def test_the_text_of_an_element_is_kept_in_place():
    data = b'[ {"a": 1.50, "a":  "\\u00e9"},\n{"b":1e3} ]'
    found = lines(data)
    assert found == b'  {"a": 1.50, "a":  "\\u00e9"}\n\r{"b":1e3} \n'
    assert found.index(b'{"b"') == data.index(b'{"b"')


def test_a_newline_inside_a_string_does_not_become_valid():
    with pytest.raises(ValueError, match="Invalid control character"):
        json.loads(lines(b'["a\nb"]'))


def test_two_commas_in_a_row_leave_a_blank_line():
    assert [line.strip() for line in lines(b"[1,,2,]").split(b"\n")] == [b"1", b"", b"2", b"", b""]


@pytest.mark.parametrize("data", [b"[]", b" [ \n ] ", b"\xef\xbb\xbf[]"])
def test_an_empty_array_has_no_lines(data):
    assert lines(data) == lines(data, 1 if b"\xef" not in data else 3) == b""


@pytest.mark.parametrize(
    ("data", "message", "byte"),
    [
        (b'[{"a":1},{"a":', "ends early: no closing ] after element 2", 14),
        (b'[{"a":"x},{"a":1}]', "ends early", 18),
        (b"[1,2] {}", "something follows the JSON array: '{", 6),
        (b'{"items":[]}', "expected a JSON array: it begins '{", 0),
        (b"  ", "ends early", 2),
    ],
)
def test_what_is_no_array_says_where(data, message, byte):
    for block in (1, 4, 10**9):
        with pytest.raises(RawError) as caught:
            lines(data, block)
        assert message in str(caught.value)
        assert caught.value.where == {"file": "f", "byte": byte}
