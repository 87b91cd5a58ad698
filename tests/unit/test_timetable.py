"""When schedules are due: held against one that tries every minute, and across the changes of clocks."""

import calendar
import datetime as dt
import zoneinfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chalicelib import sources
from chalicelib.errors import ConfigurationError
from local.timetable import Timetable

UTC = dt.UTC
NEW_YORK = zoneinfo.ZoneInfo("America/New_York")
MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]


def utc(text):
    return dt.datetime.fromisoformat(text).replace(tzinfo=UTC)


def times(table, after, count):
    found = []
    for _ in range(count):
        after = table.after(after)
        found.append(after)
    return found


# --- the computation of its own: does a local time match? ---------------------------------------


def number(text, names, base):
    return names.index(text) + base if text in names else int(text)


def values(field, low, high, names=(), base=1):
    """The numbers that a field without L, W and # allows."""
    found = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        if span == "*":
            first, last = low, high
        elif "-" in span:
            first, last = (number(end, names, base) for end in span.split("-"))
        else:
            first = number(span, names, base)
            last = high if step else first
        found |= set(range(first, last + 1, int(step or 1)))
    return found


def day_matches(date, day_of_month, day_of_week):
    last = calendar.monthrange(date.year, date.month)[1]
    weekday = date.isoweekday() % 7 + 1  # Sunday is 1
    if day_of_month != "?":
        if day_of_month == "L":
            return date.day == last
        if day_of_month.endswith("W"):
            wanted = int(day_of_month[:-1])
            if wanted > last:
                return False
            weekdays = [day for day in range(1, last + 1) if date.replace(day=day).isoweekday() <= 5]
            # a Saturday's nearest is the Friday before, a Sunday's the Monday after
            nearest = min(weekdays, key=lambda day: abs(day - wanted))
            return date.day == nearest
        return date.day in values(day_of_month, 1, 31)
    if day_of_week == "L":
        return weekday == 7
    if day_of_week.endswith("L"):
        return weekday == number(day_of_week[:-1], DAYS, 1) and date.day + 7 > last
    if "#" in day_of_week:
        wanted, nth = day_of_week.split("#")
        return weekday == number(wanted, DAYS, 1) and (date.day - 1) // 7 + 1 == int(nth)
    return weekday in values(day_of_week, 1, 7, DAYS)


def due(expression, zone, first, last):
    """Every minute of UTC in [first, last] whose local time matches, the first where it comes twice."""
    minute, hour, day_of_month, month, day_of_week, year = expression[5:-1].split()
    minutes, hours = values(minute, 0, 59), values(hour, 0, 23)
    months, years = values(month, 1, 12, MONTHS), values(year, 1970, 2199)
    found, seen, moment = [], set(), first - dt.timedelta(hours=3)
    while moment <= last:
        local = moment.astimezone(zone)
        wall = (local.date(), local.hour, local.minute)
        if (
            local.minute in minutes
            and local.hour in hours
            and local.month in months
            and local.year in years
            and day_matches(local.date(), day_of_month, day_of_week)
            and wall not in seen
        ):
            seen.add(wall)
            if moment >= first:
                found.append(moment)
        moment += dt.timedelta(minutes=1)
    return found


# --- time zones ------------------------------------------------------------------------------


def test_weather_runs_at_eight_in_new_york_on_every_day_of_a_year():
    weather = sources.get("weather")
    table = Timetable(weather.schedule, weather.timezone)
    found = table.between(utc("2026-01-01T05:00"), utc("2027-01-01T04:59"))
    day, wanted = dt.date(2026, 1, 1), []
    while day.year == 2026:
        # by the law: from the second Sunday of March to the first of November it is UTC-4, else UTC-5
        summer = dt.date(2026, 3, 8) <= day < dt.date(2026, 11, 1)
        wanted.append(dt.datetime(day.year, day.month, day.day, 12 if summer else 13, tzinfo=UTC))
        day += dt.timedelta(days=1)
    assert found == wanted
    assert {moment.astimezone(NEW_YORK).strftime("%H:%M") for moment in found} == {"08:00"}


def test_a_local_time_that_a_change_of_clocks_leaves_out_is_skipped():
    table = Timetable("cron(30 2 * * ? *)", "America/New_York")
    assert times(table, utc("2026-03-07T00:00"), 3) == [
        utc("2026-03-07T07:30"),
        utc("2026-03-09T06:30"),
        utc("2026-03-10T06:30"),
    ]


def test_a_local_time_that_comes_twice_counts_once():
    table = Timetable("cron(30 1 * * ? *)", "America/New_York")
    found = times(table, utc("2026-10-31T00:00"), 3)
    assert found == [utc("2026-10-31T05:30"), utc("2026-11-01T05:30"), utc("2026-11-02T06:30")]


def test_a_rate_in_days_is_one_of_24_hours_over_a_change_of_clocks_too():
    table = Timetable("rate(1 day)", "America/New_York", start=utc("2026-03-07T13:00"))
    assert times(table, utc("2026-03-07T13:00"), 2) == [utc("2026-03-08T13:00"), utc("2026-03-09T13:00")]


def test_a_one_time_schedule_is_due_once_in_its_time_zone():
    table = Timetable("at(2026-07-01T08:00:00)", "Europe/Lisbon")
    assert table.after(utc("2026-01-01T00:00")) == utc("2026-07-01T07:00")
    assert table.after(utc("2026-07-01T07:00")) is None


def test_nothing_is_due_before_the_start_and_after_the_end():
    table = Timetable("cron(0 * * * ? *)", start=utc("2026-01-01T10:00"), end=utc("2026-01-01T12:00"))
    found = table.between(utc("2025-01-01T00:00"), utc("2027-01-01T00:00"))
    assert found == [utc("2026-01-01T10:00"), utc("2026-01-01T11:00"), utc("2026-01-01T12:00")]
    assert Timetable("rate(2 hours)", start=utc("2026-01-01T10:30")).after(utc("2020-01-01T00:00")) == utc(
        "2026-01-01T10:30"
    )


ZONES = ("UTC", "America/New_York", "Europe/Lisbon", "Australia/Lord_Howe", "Asia/Kathmandu")
_MINUTES = st.sampled_from(["0", "30", "*/15", "5,35", "10-12", "1/20"])
_HOURS = st.sampled_from(["*", "1", "2", "8", "1-3", "0/6", "23"])
# days of the month, then of the week: where one is given, the other is a question mark
_DAYS = st.sampled_from(
    [(day, "?") for day in ("*", "1", "L", "15W", "1W", "31W", "1-7", "*/10")]
    + [("?", day) for day in ("*", "MON-FRI", "1", "SUN,WED", "L", "6L", "FRIL", "2#1", "SUN#5")]
)
_MONTHS = st.sampled_from(["*", "3", "MAR,NOV", "OCT-DEC", "1/2", "FEB"])
_EXPRESSIONS = st.builds(
    lambda minute, hour, days, month: f"cron({minute} {hour} {days[0]} {month} {days[1]} *)",
    _MINUTES,
    _HOURS,
    _DAYS,
    _MONTHS,
)
# within a day of a change of clocks in one of the zones, of the end of February or of a year, or anywhere
_BEGINNINGS = st.one_of(
    st.sampled_from(["2026-03-07", "2026-03-28", "2026-10-31", "2026-10-24", "2026-04-04", "2024-02-28", "2026-12-30"]),
    st.dates(dt.date(2024, 1, 1), dt.date(2030, 12, 31)).map(str),
)


@given(_EXPRESSIONS, st.sampled_from(ZONES), _BEGINNINGS)
def test_what_is_due_is_what_matches_minute_by_minute(expression, zone, beginning):
    first = utc(f"{beginning}T00:00")
    last = first + dt.timedelta(days=3)
    wanted = due(expression, zoneinfo.ZoneInfo(zone), first, last)
    assert Timetable(expression, zone).between(first - dt.timedelta(seconds=1), last) == wanted


@given(_EXPRESSIONS, st.sampled_from(ZONES), st.integers(0, 59_999_999))
def test_each_time_is_later_than_the_one_it_is_asked_for_to_the_microsecond(expression, zone, before):
    table = Timetable(expression, zone)
    first = table.after(utc("2026-01-01T00:00"))
    assume(first)  # February has no 31st
    assert table.after(first - dt.timedelta(microseconds=before + 1)) == first
    assert table.after(first) > first


# --- what aws-croniter leaves out or gets wrong --------------------------------------------------


def test_a_leap_day_after_a_year_that_is_none_is_still_due():
    table = Timetable("cron(0 0 29 2 ? *)")
    assert times(table, utc("2094-03-01T00:00"), 2) == [utc("2096-02-29T00:00"), utc("2104-02-29T00:00")]


def test_the_fifth_sunday_of_a_february_is_due_after_28_years():
    table = Timetable("cron(0 0 ? 2 SUN#5 *)")
    assert times(table, utc("2026-01-01T00:00"), 2) == [utc("2032-02-29T00:00"), utc("2060-02-29T00:00")]


def test_a_day_that_no_month_has_is_never_due():
    assert Timetable("cron(0 0 31 2 ? *)").after(utc("2026-01-01T00:00")) is None


def test_a_year_in_the_expression_ends_it():
    table = Timetable("cron(0 12 1 1 ? 2027-2028)")
    assert times(table, utc("2026-01-01T00:00"), 3) == [utc("2027-01-01T12:00"), utc("2028-01-01T12:00"), None]


@pytest.mark.parametrize(
    "expression",
    [
        "every day",
        "cron(0 8 * * ?)",
        "cron(0 8 * * * *)",
        "cron(0 8 ? * ? *)",
        "cron(60 8 * * ? *)",
        "cron(0 24 * * ? *)",
        "cron(0 8 * 13 ? *)",
        "cron(0 8 LW * ? *)",
        "cron(0/0 8 * * ? *)",
        "cron(0 8 ? * MON#6 *)",
        "cron(0 8 ? * 2#1,3#1 *)",
        "rate(0 minutes)",
        "rate(5 seconds)",
        "at(2026-07-01)",
    ],
)
def test_an_expression_that_aws_refuses_is_refused_with_its_text(expression):
    with pytest.raises(ConfigurationError) as caught:
        Timetable(expression)
    assert expression in str(caught.value)


def test_a_time_zone_that_does_not_exist_is_refused_by_name():
    with pytest.raises(ConfigurationError, match="Europe/Lissabon"):
        Timetable("rate(1 day)", "Europe/Lissabon")
