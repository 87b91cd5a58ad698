"""What the dashboard shows of data: never more than a text, whatever Markdown would make of it."""

import re

import pytest

from dashboard import wording

HOSTILE = {
    "image": "![](https://evil.example/p.png)",
    "link": "[Replay](https://evil.example)",
    "formula": "$5 and $6",
    "directive": ":red[all is lost]",
    "icon": ":material/check_circle:",
    "html": "<b>bold</b>",
    "entity": "&lt;",
    "code": "a `b` c",
    "backslash": "\\[a](b)",
    "list": "1. one",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_text_that_is_escaped_has_no_special_left_and_reads_as_it_was(text):
    found = wording.escaped(text)
    pairs = re.findall(r"\\.|[^\\]", found)
    assert "".join(pairs) == found
    assert not set("\\`*_{}[]()<>#+-.!|~$:&") & {pair for pair in pairs if len(pair) == 1}
    assert "".join(pair[-1] for pair in pairs) == text


def test_an_escaped_text_begins_no_block_of_its_own():
    assert wording.escaped("    four\n\n    more\n===") == "four more ==="


@pytest.mark.parametrize(
    ("text", "shown"),
    [("raw/a", "`raw/a`"), ("a`b", "`` a`b ``"), ("`` ![](x)", "``` `` ![](x) ```"), ("a\n\n# b", "`a # b`")],
    ids=["plain", "backtick", "backticks", "lines"],
)
def test_code_ends_where_its_text_ends(text, shown):
    assert wording.code(text) == shown


@pytest.mark.parametrize(
    ("error", "reason", "shown"),
    [
        (
            "SourceError",
            "no file at /a Next: check the path",
            "**SourceError**: no file at /a  \n**Next**: check the path",
        ),
        ("SourceError", "no file at /a", "**SourceError**: no file at /a"),
        (None, None, "**Failed**: no reason was given"),
    ],
    ids=["with-a-next-step", "without", "nothing-known"],
)
def test_an_error_has_what_to_do_on_a_line_of_its_own(error, reason, shown):
    assert wording.failure(error, reason) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("`sluice runs list` shows *those*", "`sluice runs list` shows \\*those\\*"),
        ("of `[a](b)`", "of `[a](b)`"),
        ("one ` alone", "one \\` alone"),
    ],
    ids=["command", "link", "alone"],
)
def test_a_command_in_a_sentence_is_code_and_the_rest_is_a_text(text, shown):
    assert wording.sentence(text) == shown
