"""The curated table of a source, as it is: its columns, its key, which of its values are personal."""

from __future__ import annotations

from dataclasses import dataclass

from chalicelib import personal, settings, sources
from chalicelib.columns import ANOMALIES, DAYS, base_of
from chalicelib.errors import ContractError, NotFound, RequestRefused
from chalicelib.lake.store import Lake, impatient_client
from chalicelib.sources.base import Source
from chalicelib.warehouse import table_columns
from chalicelib.warehouse.queries import rows


@dataclass(frozen=True)
class Field:
    """A column as the table has it, one of the lineage too."""

    name: str
    type: str
    nullable: bool

    @property
    def base(self) -> str:
        return base_of(self.type)


RUN_ID, LOADED_AT = Field("_run_id", "text", False), Field("_loaded_at", "timestamptz", False)
MARKS = Field(ANOMALIES, "jsonb", True)


@dataclass(frozen=True)
class Table:
    """`key` is in the order of the primary key's index; `hidden` are the columns whose values are masked.

    `declared_by_run` says that the source has a table per declaration, so that its name alone is not enough.
    """

    source: str
    name: str
    columns: tuple[Field, ...]
    key: tuple[str, ...]
    day: Field
    hidden: frozenset[str]
    has_marks: bool
    declared_by_run: bool

    def column(self, name: str) -> Field:
        """One of `columns`, or of the lineage; raises ContractError naming it where there is none."""
        for column in (*self.columns, RUN_ID, LOADED_AT):
            if column.name == name:
                return column
        raise ContractError(
            f"{self.source} has no column {name[:100]!r}",
            next_step=f"use one of {', '.join(c.name for c in self.columns)}, {RUN_ID.name}, {LOADED_AT.name}",
        )

    def require_visible(self, *names: str) -> None:
        """Raise RequestRefused (403) for columns that are masked: who asks by them learns what they hold."""
        if found := [name for name in names if name in self.hidden]:
            raise RequestRefused(
                f"{', '.join(found)} of {self.source} is personal: only a token with the scope 'admin' may ask by it",
                status=403,
                reason="personal",
            )


def find(connection, source: str, table: str | None = None, unmasked: bool = False) -> Table:
    """The table of a source; `table` names it where the source has several, as `files` has.

    Raises UnknownSource, NotFound where nothing was published yet, ContractError where a table must be named,
    RequestRefused (403) where the key is personal and not `unmasked`: ids and pages are made of it.
    """
    with connection.cursor() as cursor:
        declared = declaration(cursor, source, table)
        found = rows(cursor, "reading", "columns", table=f'curated."{declared.table}"')
    if not found:
        raise NotFound(f"{source} has published nothing yet", next_step=f"sluice run {source}")
    columns = tuple(
        Field(row["name"], table_columns.of_catalog(row["type"]), not row["required"])
        for row in found
        if not row["name"].startswith("_")
    )
    hidden = personal.names(declared.columns)
    if hidden:  # of what is not declared nobody has said that it is not personal
        hidden |= {column.name for column in columns} - set(declared.column_names)
    made = Table(
        source=source,
        name=declared.table,
        columns=columns,
        key=tuple(row["name"] for row in sorted(found, key=lambda r: r["key_place"] or 0) if row["key_place"]),
        day=next((c for c in columns if c.name == declared.day and c.base in DAYS), LOADED_AT),
        hidden=frozenset() if unmasked else hidden,
        has_marks=any(row["name"] == ANOMALIES for row in found),
        declared_by_run=sources.get(source).is_declared_by_run,
    )
    made.require_visible(*made.key)
    return made


def declaration(cursor, source: str, table: str | None = None) -> Source:
    """The source as its table's rows were declared; `table` names it where it has several. Raises as `find` does."""
    registered = sources.get(source)
    if not registered.is_declared_by_run:
        if table not in (None, registered.table):
            raise NotFound(
                f"{source} has no table {table[:100]!r}", next_step=f"leave it out: it is {registered.table}"
            )
        return registered
    if table is None:
        known = [row["table_name"] for row in rows(cursor, "reading", "tables_of_source", source=source)]
        raise ContractError(
            f"{source} has a table per declaration", next_step=f"name one: {', '.join(known) or 'there is none yet'}"
        )
    found = rows(cursor, "reading", "last_run_of_table", source=source, table=table)
    if not found:
        raise NotFound(f"{source} has published no table {table[:100]!r}")
    run_id = found[0]["run_id"]
    try:
        return sources.as_declared(source, run_id, Lake(settings.current().bucket, impatient_client()))
    except NotFound as error:
        raise NotFound(
            f"what run {run_id} declared {table} to be is gone", next_step=f"run {source} with that declaration again"
        ) from error
