"""Names of attempts: the first one's and a number, in what Step Functions takes, whoever names them."""

import pytest

from chalicelib.redriving import starting
from chalicelib.triggers import Trigger, attempts
from chalicelib.triggers.attempts import ATTEMPTS, NAME_LENGTH


@pytest.mark.parametrize("number", [2, ATTEMPTS])
@pytest.mark.parametrize("identity", ["7", "2026-11-21", "a" * 90], ids=["short", "like an attempt", "long"])
def test_a_redrive_names_the_attempts_of_a_trigger_as_the_trigger_does(identity, number):
    trigger = Trigger("queue", "posts", identity)
    name = trigger.attempt(number)
    assert starting._base(name, None, trigger.run_input()) == (trigger.name, number)
    assert attempts.name(*starting._base(trigger.name, None, trigger.run_input())) == trigger.name
    assert len(name) <= NAME_LENGTH


@pytest.mark.parametrize(
    "name", ["by-hand", "by-hand-2", "h" * NAME_LENGTH], ids=["plain", "like an attempt", "longest"]
)
def test_a_run_that_a_person_named_has_attempts_of_its_own(name):
    base, number = starting._base(name, None, {"source": "posts"})
    following = attempts.name(base, ATTEMPTS)
    assert number == 1 and following != name and len(following) <= NAME_LENGTH
    assert starting._base(following, {"redrive_of": name}, {"source": "posts"}) == (base, ATTEMPTS)
