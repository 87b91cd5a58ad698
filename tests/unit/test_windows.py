"""Which days a run asks for."""

import datetime as dt

import pytest

from chalicelib import windows
from chalicelib.columns import Column
from chalicelib.contracts import Window
from chalicelib.errors import ContractError, DeclarationError
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


def derive(start=None, end=None, position=None, source=None):
    return windows.derive(source or Daily(), start, end, position, TODAY)


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


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        ("2024-02-30", None, "from is '2024-02-30'"),
        ("2024-02-01", "1.3.2024", "to is '1.3.2024'"),
        ("2024-02-02", "2024-02-01", "before it starts"),
        (None, "2024-02-01", "an end but no start"),
    ],
)
def test_a_window_that_is_none_is_refused(start, end, message):
    with pytest.raises(ContractError, match=message):
        derive(start, end)


def test_a_source_without_days_has_no_window():
    assert derive(source=Timeless()) == Window()
    with pytest.raises(ContractError, match="timeless has no windows"):
        derive("2024-01-01", source=Timeless())
