"""What a source says about itself. Everything else is shared by all sources."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

from chalicelib import anomalies as anomaly_declarations
from chalicelib.changes import mapping
from chalicelib.columns import DAYS, Column, with_key
from chalicelib.contracts import Window
from chalicelib.errors import ContractError, DeclarationError
from chalicelib.schema import CONTRACTS, DISCARD
from chalicelib.search import declaration as search_declarations
from chalicelib.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

    from chalicelib.http import Client
    from chalicelib.schema.model import Schema


LAMBDA, CONTAINER = "lambda", "container"


@dataclass(frozen=True)
class Page:
    """One raw object to be: its bytes as a stream, and how to read them.

    `format` is a name from `lake.formats`: "ndjson", "csv", "json" (an array of records), or
    "response" (one document that the source's `records` reads). `compression` is "gzip" or None.
    `delimiter` is that of a CSV, None to find it out. `name` is what errors call the page.
    """

    body: BinaryIO
    format: str
    compression: str | None = None
    delimiter: str | None = None
    name: str | None = None


class Source:
    """Base class of all sources; subclass it in a module of `chalicelib/sources`.

    The class attributes are the declaration. The methods have workable defaults for a source that
    answers one GET with one document.
    """

    name: ClassVar[str]
    key: ClassVar[tuple[str, ...]]
    columns: ClassVar[tuple[Column, ...]]
    table: str = ""  # default: the name
    suite: str = ""  # file name in expectations/, default: `<name>.json`
    suite_document: dict | None = None  # the suite itself, where the run's input brought one along
    hosts: tuple[str, ...] = ()  # the only hosts a live fetch may contact
    # by host, kept over all partitions that a run fetches at a time; see `Source.concurrency`
    requests_per_second: Mapping[str, float] = MappingProxyType({})
    text: tuple[str, ...] = ()  # columns worth searching: embedded, and in the full text; docs/search.md
    language: str = search_declarations.SIMPLE  # of that text: a configuration of Postgres' full text
    vectors: str = search_declarations.SINGLE  # or "half": the precision of the vectors' index
    rename: Mapping[str, str] = MappingProxyType({})  # field in the records -> column, done while reading
    day: str | None = None  # the column, a date or a time, by which rows are counted and asked for; indexed
    indexes: tuple[str, ...] = ()  # other columns by which many rows are sorted or filtered
    anomalies: tuple[anomaly_declarations.Anomaly, ...] = ()  # values judged by their history
    nulls: tuple[str, ...] = ()  # tokens that mean null in a CSV, besides the empty field
    schedule: str | None = None  # EventBridge Scheduler expression, e.g. cron(0 8 * * ? *)
    # the function that the schedule invokes, instead of starting a run: one that makes what the source reads. For
    # stages whose `deployment.simulate_sensors` asks for it, and for the laptop
    simulator: str | None = None
    timezone: str = "UTC"  # in which the schedule is read, an IANA name
    first_day: dt.date | None = None  # where the cursor starts; None: the source has no windows
    overlap_days: int = 0  # days before the cursor that are asked for again, for late data
    window_days: int = 366  # the longest window one run takes by itself
    runs_on: str = LAMBDA  # or "container": where its chunks are processed; docs/heavy-partitions.md
    fetches_on: str = LAMBDA  # likewise for its partitions
    # the table whose change stream is applied to the curated table: ("schema", "table"), or `mapping.Changes`
    changes: mapping.Changes | tuple[str, str] | None = None
    schema_contract: str = DISCARD  # or "freeze", "evolve": what becomes of fields that are not declared
    # whether its own transform() and records() make the same of the same bytes at any time: they ask no clock, chance
    # or network, and read no file but those of chalicelib. Runs then take over what earlier ones made of these bytes
    repeatable: bool = False
    schema: Schema | None = None  # of a run: its columns, where they may be others than the declared ones

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if cls.__dict__.get("name"):
            cls.table = cls.__dict__.get("table") or cls.name
            cls.suite = cls.__dict__.get("suite") or f"{cls.name}.json"
            cls.columns = with_key(cls.columns, cls.key)
            cls.changes = mapping.declared(cls.changes, cls.name)

    def check(self) -> None:
        """Raise DeclarationError where the declaration contradicts itself."""
        names = [c.name for c in self.columns]
        if not names:
            raise DeclarationError("no columns are declared", source=self.name)
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise DeclarationError(f"columns declared twice: {', '.join(twice)}", source=self.name)
        for role, place in (("runs_on", self.runs_on), ("fetches_on", self.fetches_on)):
            if place not in (LAMBDA, CONTAINER):
                raise DeclarationError(
                    f"{role} is {place!r}", source=self.name, next_step=f"take {LAMBDA!r} or {CONTAINER!r}"
                )
        if not self.key:
            raise DeclarationError(
                "no key is declared", source=self.name, next_step="name the columns that identify a row"
            )
        if twice := sorted({n for n in self.key if self.key.count(n) > 1}):
            raise DeclarationError(f"the key names columns twice: {', '.join(twice)}", source=self.name)
        day = (self.day,) if self.day is not None else ()
        for role, wanted in (("key", self.key), ("text", self.text), ("day", day), ("indexes", self.indexes)):
            if missing := [n for n in wanted if n not in names]:
                raise DeclarationError(
                    f"{role} names columns that are not declared: {', '.join(missing)}", source=self.name
                )
        if wrong := [c.name for c in self.columns if c.name in day and c.base not in DAYS]:
            raise DeclarationError(
                f"day names {wrong[0]}, which is no date and no time",
                source=self.name,
                next_step=f"name a column of type {', '.join(DAYS)}",
            )
        if wrong := [c.name for c in self.columns if c.name in day and c.personal]:
            raise DeclarationError(
                f"day names {wrong[0]}, which is personal: the numbers by day would tell its values",
                source=self.name,
                next_step="name another column, or none",
            )
        if wrong := [c.name for c in self.columns if c.name in self.indexes and c.base == "jsonb"]:
            raise DeclarationError(f"indexes names {', '.join(wrong)}, and jsonb has no order", source=self.name)
        if wrong := search_declarations.problems(self.text, self.language, self.vectors, self.columns):
            raise DeclarationError("; ".join(wrong), source=self.name)
        if wrong := anomaly_declarations.problems(self.anomalies, self.columns):
            raise DeclarationError("; ".join(wrong), source=self.name)
        for host, number in self.requests_per_second.items():
            if host not in self.hosts or not 0 < number < float("inf"):
                raise DeclarationError(
                    f"requests_per_second of {host!r} is {number!r}",
                    source=self.name,
                    next_step="give a number above 0 for one of the source's `hosts`",
                )
        if self.schema_contract not in CONTRACTS:
            raise DeclarationError(
                f"schema_contract is {self.schema_contract!r}",
                source=self.name,
                next_step=f"use one of {', '.join(CONTRACTS)}",
            )
        if self.first_day is not None and not 0 <= self.overlap_days < self.window_days:
            raise DeclarationError(
                f"overlap_days is {self.overlap_days}, window_days is {self.window_days}: the cursor cannot move on",
                source=self.name,
                next_step="make the window longer than the overlap",
            )

    def concurrency(self, settings: Settings, runs_at_once: int = 1) -> int:
        """How many partitions each of `runs_at_once` runs fetches at a time.

        Together no more than requests that a host takes in a second, but at least one each.
        """
        limits = (max(1, int(number / runs_at_once)) for number in self.requests_per_second.values())
        return min([settings.fetch_concurrency, *limits])

    def seconds_between(self, settings: Settings, runs_at_once: int = 1) -> dict[str, float]:
        """By host, the seconds that one partition leaves between its requests.

        Functions share nothing, so each of those that run at a time, of all `runs_at_once`, takes its part of the
        host's limit.
        """
        together = runs_at_once * self.concurrency(settings, runs_at_once)
        return {host: together / number for host, number in self.requests_per_second.items()}

    # --- what a source may override ------------------------------------------------------

    def declare(self, given: str | None, settings: Settings) -> dict | None:
        """What Plan must keep for the later stages to rebuild the source from; None: it needs nothing."""
        return None

    def partitions(self, window: Window, given: str | None, settings: Settings) -> Iterable[dict]:
        """The independent fetches of a run, each a small JSON object that only this source reads.

        `given` is what the user passed as `--input`.
        """
        raise NotImplementedError

    def pages(self, request: dict, client: Client, settings: Settings) -> Iterator[Page]:
        """Fetch one partition: its pages, in order. Default: a GET of `request["url"]`."""
        yield Page(client.get(request["url"], params=request.get("params")).stream(), "response")

    def asked_wait(self, reason: str) -> float | None:
        """The seconds that a 429 without Retry-After asks to wait, where its `reason` says so in words."""
        return None

    def records(self, document: Any, request: dict) -> Iterable[dict]:
        """The records in one parsed JSON document (format "response"). Default: the document is a list."""
        return document

    def transform(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Raw records to declared columns: one row in, one row out, index kept.

        `frame` has a column per field of the records, with the types that pandas finds in the values
        and one exception: integers stay exact, so beside nulls they are Int64, and large ones
        beside fractions, or beyond 64 bits, objects. Where a field is null or absent, the frame has
        None, NaN or pandas.NA. Columns that are not declared are unknown fields, see
        `schema_contract`; values are converted to the declared types afterwards.
        """
        return frame

    @property
    def is_declared_by_run(self) -> bool:
        """Whether its columns, its text and the like are what a run's input declares, as those of `files` are."""
        return type(self).declare is not Source.declare

    @property
    def is_repeatable(self) -> bool:
        """Whether the same bytes become the same rows at any time: it says so, or makes nothing of them itself."""
        of_its_own = type(self).transform is not Source.transform or type(self).records is not Source.records
        return self.repeatable or not of_its_own

    def embeds(self, wanted: bool | None) -> bool:
        """Whether a run that wants it, does not, or leaves it open (None) embeds; raises ContractError without text."""
        if wanted and not self.text:
            text = "name columns in the source's `text`"
            if self.is_declared_by_run:  # search asks sources by their names, and a declaration has none
                text = (
                    "make the data a source of its own, `sluice new source NAME --sample FILE --key COLUMN`, and "
                    + text
                )
            raise ContractError(f"{self.name} has no text to embed", next_step=f"leave out --embed, or {text}")
        return bool(self.text) if wanted is None else wanted

    @property
    def sorted_by(self) -> tuple[tuple[str, ...], ...]:
        """The columns of the table's indexes, the key's first.

        Of a column of `indexes`, and of the day's, the rest of the key comes behind it: so pages that are sorted by it,
        whose ties are broken by the key, are read in its order.
        """
        wanted = dict.fromkeys((*self.indexes, *((self.day,) if self.day else ())))
        with_key = ((column, *(name for name in self.key if name != column)) for column in wanted)
        return (tuple(self.key), *with_key, *((*anomaly.by, anomaly.time) for anomaly in self.anomalies))

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.columns)

    @property
    def late(self) -> Mapping[str, str]:
        """The columns that the table got after it was made, each with its field in the records."""
        return self.schema.late if self.schema else {}
