"""Which days a run asks for."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import windows
from chalicelib.columns import Column
from chalicelib.contracts import Window
from chalicelib.errors import ContractError, DeclarationError
from chalicelib.run_input import RunInput
from chalicelib.sources.base import Source

TODAY = dt.date(2024, 6, 15)


class Daily(Source):
    name = "daily"
    key = ("day",)
    columns = (Column("day", "date"),)
    first_day = dt.date(2024, 1, 1)
    overlap_days = 3
    window_days = 60


class Timeless(Source):
    name = "timeless"
    key = ("id",)
    columns = (Column("id", "integer"),)


def derive(start=None, end=None, position=None, source=None, **given):
    source = source or Daily()
    return windows.derive(source, RunInput(source.name, start, end, **given), position, TODAY)


def test_the_first_run_starts_on_the_first_day_and_takes_the_longest_window():
    assert derive() == Window("2024-01-01", "2024-02-29", by_cursor=True)


def test_the_next_run_starts_after_the_cursor_less_the_overlap():
    assert derive(position="2024-05-31") == Window("2024-05-29", "2024-06-14", by_cursor=True)


def test_a_run_that_has_caught_up_asks_for_the_overlap_again():
    assert derive(position="2024-06-14") == Window("2024-06-11", "2024-06-14", by_cursor=True)


def test_the_overlap_does_not_reach_before_the_first_day():
    assert derive(position="2024-01-01").start == "2024-01-01"


def test_before_the_first_day_is_over_there_are_no_days_and_the_cursor_stays():
    class New(Daily):
        name = "new"
        first_day = TODAY

    assert derive(source=New()) == Window()
    New.first_day = TODAY + dt.timedelta(days=30)
    assert derive(source=New()) == Window()
    New.first_day = TODAY - dt.timedelta(days=1)
    assert derive(source=New()) == Window("2024-06-14", "2024-06-14", by_cursor=True)


@pytest.mark.parametrize(("overlap", "window"), [(60, 60), (61, 60), (0, 0), (-1, 60)])
def test_a_cursor_that_would_never_move_on_is_refused(overlap, window):
    class Stalling(Daily):
        name = "stalling"

    Stalling.overlap_days, Stalling.window_days = overlap, window
    with pytest.raises(DeclarationError, match="the cursor cannot move on"):
        Stalling().check()
    Stalling.overlap_days, Stalling.window_days = 59, 60
    Stalling().check()


def test_given_days_win_and_leave_the_cursor_alone():
    assert derive("2024-03-01", "2024-03-02", position="2024-05-31") == Window("2024-03-01", "2024-03-02")


def test_a_start_alone_runs_to_yesterday_or_the_longest_window():
    assert derive("2024-06-01").end == "2024-06-14"
    assert derive("2024-02-01").end == "2024-03-31"


def test_a_window_may_begin_yesterday_and_end_on_a_day_that_is_not_over():
    assert derive("2024-06-14", "2024-06-20") == Window("2024-06-14", "2024-06-20")


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        ("2024-02-30", None, "from is '2024-02-30'"),
        ("2024-02-01", "1.3.2024", "to is '1.3.2024'"),
        ("2024-02-02", "2024-02-01", "before it starts"),
        (None, "2024-02-01", "an end but no start"),
        ("2024-06-15", "2024-06-16", "begins on 2024-06-15, and that day is not over"),
        ("2030-01-05", None, "begins on 2030-01-05"),
    ],
)
def test_a_window_that_is_none_is_refused(start, end, message):
    with pytest.raises(ContractError, match=message):
        derive(start, end)


def test_a_source_without_days_has_no_window():
    assert derive(source=Timeless()) == Window()
    with pytest.raises(ContractError, match="timeless has no windows"):
        derive("2024-01-01", source=Timeless())


# --- a given window that moves the cursor ----------------------------------------------------


def test_a_given_window_moves_the_cursor_only_where_that_is_asked_for():
    given = {"start": "2024-05-30", "end": "2024-06-02", "position": "2024-05-31"}
    assert derive(**given) == Window("2024-05-30", "2024-06-02")
    assert derive(**given, move_cursor=True) == Window("2024-05-30", "2024-06-02", by_cursor=True)


def test_a_window_may_begin_right_after_the_cursor_and_not_a_day_later():
    assert derive("2024-06-01", "2024-06-02", "2024-05-31", move_cursor=True).by_cursor
    with pytest.raises(ContractError, match="from 2024-06-01 to 2024-06-01; the cursor would pass them"):
        derive("2024-06-02", "2024-06-02", "2024-05-31", move_cursor=True)
    assert derive("2024-06-02", "2024-06-02", "2024-05-31", move_cursor=True, allow_gap=True).by_cursor


def test_without_a_cursor_the_gap_counts_from_the_first_day():
    assert derive("2024-01-01", "2024-01-02", move_cursor=True).by_cursor
    with pytest.raises(ContractError, match="from 2024-01-01 to 2024-01-01"):
        derive("2024-01-02", "2024-01-02", move_cursor=True)


def test_the_cursor_is_not_moved_past_yesterday():
    assert derive("2024-06-01", "2024-06-14", "2024-05-31", move_cursor=True).by_cursor
    with pytest.raises(ContractError, match="2024-06-15, and that day is not over"):
        derive("2024-06-01", "2024-06-15", "2024-05-31", move_cursor=True)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"start": "2024-01-01", "input": "Oslo", "move_cursor": True}, "a part of the source cannot move its cursor"),
        ({"start": "2024-01-01", "allow_gap": True}, "means nothing without move_cursor"),
        ({"source": Timeless(), "move_cursor": True}, "timeless has no windows"),
    ],
)
def test_a_cursor_is_not_moved_where_that_makes_no_sense(given, message):
    with pytest.raises(ContractError, match=message):
        derive(**given)


def test_a_part_of_the_source_leaves_the_cursor_alone():
    assert derive(position="2024-05-31", input="Oslo") == Window("2024-05-29", "2024-06-14")


# --- the windows of a backfill ---------------------------------------------------------------


def split(first, last, every):
    days = dt.date.fromisoformat(first), dt.date.fromisoformat(last)
    return [(start.isoformat(), end.isoformat()) for start, end in windows.split(*days, every)]


def test_a_backfill_is_cut_into_days_weeks_and_months():
    assert split("2024-02-28", "2024-03-01", "1d") == [
        ("2024-02-28", "2024-02-28"),
        ("2024-02-29", "2024-02-29"),
        ("2024-03-01", "2024-03-01"),
    ]
    assert split("2024-01-01", "2024-01-17", "1w") == split("2024-01-01", "2024-01-17", "7d")
    assert split("2024-01-01", "2024-01-17", "7d")[-1] == ("2024-01-15", "2024-01-17")
    assert split("2023-12-15", "2024-02-20", "1mo") == [
        ("2023-12-15", "2024-01-14"),
        ("2024-01-15", "2024-02-14"),
        ("2024-02-15", "2024-02-20"),
    ]


def test_months_from_the_last_day_of_a_long_one_lose_no_day():
    found = split("2023-01-31", "2023-05-31", "1mo")
    assert [start for start, _ in found] == ["2023-01-31", "2023-02-28", "2023-03-31", "2023-04-30", "2023-05-31"]


@given(
    first=st.dates(dt.date(1900, 1, 1), dt.date(2100, 1, 1)),
    days=st.integers(0, 900),
    number=st.integers(1, 400),
    unit=st.sampled_from(["d", "w", "mo"]),
)
def test_every_day_of_a_backfill_is_in_one_window(first, days, number, unit):
    last = first + dt.timedelta(days=days)
    found = list(windows.split(first, last, f"{number}{unit}"))
    assert (found[0][0], found[-1][1]) == (first, last)
    assert all(start <= end for start, end in found)
    assert [end + dt.timedelta(days=1) for _, end in found[:-1]] == [start for start, _ in found[1:]]


def test_a_backfill_may_end_on_the_last_day_that_there_is():
    assert split("9999-12-30", "9999-12-31", "1mo") == [("9999-12-30", "9999-12-31")]


@pytest.mark.parametrize("every", ["0d", "00mo", "-1d", "1", "d", "1y", "1.5d", "", " 1d", "99999d"])
def test_a_step_that_is_none_is_refused(every):
    with pytest.raises(ContractError, match="every is"):
        split("2024-01-01", "2024-01-02", every)
