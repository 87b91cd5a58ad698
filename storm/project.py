"""A copy of the project with sources of the storm's own, so that it neither litters this one nor touches its stack."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from local.home import REPOSITORY
from storm import faults, truth
from storm.plan import KINDS

PARTS = ("app.py", "chalicelib", "cli", "deploy", "local", "statemachine", "storm", ".chalice")
MARK = "storm.project"  # what only a copy has

_TABLE = """key = ("id",)
    columns = (
        Column("id", "integer", nullable=False),
        Column("day", "date", nullable=False),
        Column("amount", "numeric(10,2)", nullable=False),
        Column("note", "text"),
    )"""

_SOURCE = '''"""A lane of the storm."""

import datetime as dt

from chalicelib import paging
from chalicelib.columns import Column
from chalicelib.sources.base import Page, Source

URL = "{url}/{lane}"


class Lane(Source):
    name = "{lane}"
    {table}
    hosts = ("{host}",)
    repeatable = True  # so that what is asked for again takes chunks over
    first_day = dt.date.fromisoformat("{first_day}")
    window_days = {window_days}
    overlap_days = 0
    {more}

    def partitions(self, window, given, settings):
        first, last = map(dt.date.fromisoformat, (window.start, window.end))
        return [{{"day": (first + dt.timedelta(days=n)).isoformat()}} for n in range((last - first).days + 1)]

    def pages(self, request, client, settings):
        {pages}

    def records(self, document, request):
        return document["rows"]
'''

_INBOX = '''"""A lane of the storm: what is put into its inbox."""

from chalicelib.columns import Column
from chalicelib.sources.files import FileSource


class Lane(FileSource):
    name = "{lane}"
    {table}
    format = "ndjson"
'''

# what a lane's source declares besides
_MORE = {faults.TEXTS: 'text = ("note",)', faults.CONTAINERS: 'runs_on = "container"'}

_DOCUMENTS = """for answer in paging.by_cursor(client, URL, lambda page: page["next"], {"day": request["day"]}):
            yield answer.page()"""

_LINES = """cursor = "0"
        while cursor:
            answer = client.get(URL, params={"day": request["day"], "cursor": cursor}, json=False)
            cursor = answer.headers["Next"]
            yield Page(answer.stream(), "ndjson")"""

_STRICT, _MENDED = 0, -1000  # the least amount


def _suite(lane: str, least: int) -> str:
    expectations = [
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": "amount", "min_value": least}},
        {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1}},
    ]
    meta = {"sluice": {"quarantine": {"warn": 0.08, "fail": 0.3}}}
    return json.dumps({"name": lane, "expectations": expectations, "meta": meta})


def copy(folder: Path) -> Path:
    """The project, in a new folder below `folder`."""
    made = folder / "project"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    ignored = shutil.ignore_patterns("__pycache__", "deployed", "deployments")
    for part in PARTS:
        if (REPOSITORY / part).is_dir():
            shutil.copytree(REPOSITORY / part, made / part, ignore=ignored)
        else:
            shutil.copy(REPOSITORY / part, made / part)
    (made / "expectations").symlink_to("chalicelib/expectations")
    (made / MARK).touch()
    return made


def add_lanes(lanes: list[str], url: str) -> None:
    """Write their sources into the copy that this code is run from, before its stack comes up."""
    if not (REPOSITORY / MARK).exists():
        raise RuntimeError(f"{REPOSITORY} is no copy made by storm.project: type python -m storm")
    for lane in lanes:
        kind = KINDS[lane]
        text = (_INBOX if kind == faults.INBOX else _SOURCE).format(
            lane=lane,
            table=_TABLE,
            more=_MORE.get(kind, ""),
            url=url,
            host=url.removeprefix("http://"),
            first_day=truth.FIRST_DAY,
            window_days=truth.WINDOW_DAYS,
            pages=_LINES if kind == faults.LINES else _DOCUMENTS,
        )
        (REPOSITORY / "chalicelib" / "sources" / f"{lane}.py").write_text(text)
        _write_suite(lane, _STRICT)


@contextlib.contextmanager
def mended_suite(lane: str) -> Iterator[None]:
    """Amounts below 0 are accepted meanwhile, as by somebody who mends the suite in their clone."""
    _write_suite(lane, _MENDED)
    try:
        yield
    finally:
        _write_suite(lane, _STRICT)


def _write_suite(lane: str, least: int) -> None:
    """In one step: workers read it at any moment."""
    unfinished = REPOSITORY / f"{lane}.suite"
    unfinished.write_text(_suite(lane, least))
    unfinished.replace(REPOSITORY / "chalicelib" / "expectations" / f"{lane}.json")
