"""`sluice records` on paper: a value is all there, however long it is and whatever script it is in."""

import pytest

from cli import records

JAPANESE = "水道の蛇口が漏れているので、修理の方法を教えてください。"


@pytest.mark.parametrize("text", [JAPANESE * 40, "é🔧" * 300, "x" * 2000], ids=["wide", "emoji", "one-word"])
def test_a_long_value_is_printed_whole(text, capsys):
    records._print(["id", "body"], [[1, text], [2, "short"]])
    [heading, first, *others] = capsys.readouterr().out.splitlines()
    body = heading.index("body")
    last = others.pop()
    assert last.split() == ["2", "short"]
    assert "".join(line[body:].rstrip() for line in (first, *others)) == text
