"""What a run does about what its chunks saw: the changes that `evolve` makes, the refusal of `freeze`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from chalicelib.columns import Column
from chalicelib.errors import SchemaRefused
from chalicelib.schema import kinds, names
from chalicelib.schema.model import ADD, WIDEN, Change, Observation, Schema, Seen, ordered, short

# more new fields than that in one run are a document that uses values as field names
MOST_NEW_COLUMNS = 100

_QUOTED = 10
_DOCUMENTATION = "docs/schema-changes.md says what each contract does"


def refuse(observation: Observation, columns: Sequence[Column], run_id: str, source: str) -> None:
    """Raise SchemaRefused for a frozen schema where there is anything to tell."""
    types = {column.name: column.type for column in columns}
    told = [
        *(_new(field) for field in observation.unknown),
        *(
            f"column {column.name} is {types[column.name]}, {_records(column)} of type {column.type}{_place(column)}"
            for column in observation.misfits
        ),
        *(f"column {name} ({types[name]}) is in no record" for name in observation.missing),
    ]
    if nameless := observation.nameless:
        several = f"{nameless:,} fields are new whose names may be values, and so are not told"
        told.insert(0, "1 field is new whose name may be a value, and so is not told" if nameless == 1 else several)
    if not told:
        return
    more = len(told) - _QUOTED + observation.more
    listed = "; ".join(told[:_QUOTED]) + (f"; and {more:,} more" if more > 0 else "")
    raise SchemaRefused(
        f"the records do not have the columns that the source declares, and its contract is freeze: {listed}",
        run_id=run_id,
        source=source,
        next_step=f"change the declaration, or its schema_contract; {_DOCUMENTATION}",
    )


def evolved(
    schema: Schema,
    observation: Observation,
    is_judgeable: Callable[[tuple[Column, ...]], bool],
    run_id: str,
    source: str,
) -> Schema:
    """The next revision; `schema` itself where nothing is to change.

    `is_judgeable` says whether the suite's expectations can judge a table of these columns. A
    column that they could not judge any more is not widened: what does not fit it stays in
    quarantine. Raises SchemaRefused for more than MOST_NEW_COLUMNS new fields.
    """
    new = [field for field in observation.unknown if field.type is not None]
    if (number := len(new) + observation.more) > MOST_NEW_COLUMNS:
        told = [field for field in new if names.is_like_a_field(field.name)][:_QUOTED]
        listed = "; ".join([*map(_new, told), f"{number - len(told):,} more"])
        raise SchemaRefused(
            f"{'at least ' if observation.more else ''}{number:,} new fields came in one run, and the contract evolve"
            f" adds at most {MOST_NEW_COLUMNS}: {listed}",
            run_id=run_id,
            source=source,
            next_step="if values are used as field names, keep them in one column of type jsonb, by records() or"
            f" transform(); {_DOCUMENTATION}",
        )
    columns = {column.name: column for column in schema.columns}
    late, changes = dict(schema.late), list(schema.changes)
    for seen in observation.misfits:
        column = columns[seen.name]
        wider = dataclasses.replace(column, type=seen.type)
        if not is_judgeable(tuple((columns | {seen.name: wider}).values())):
            continue
        columns[seen.name] = wider
        changes.append(
            Change(
                change=WIDEN,
                column=seen.name,
                field=late.get(seen.name, seen.name),
                from_type=column.type,
                to_type=seen.type,
                records=seen.records,
                raw=seen.raw,
                line=seen.line,
            )
        )
    for field in new:
        # a column that once was evolved and is known under this field would not be unknown
        name = names.column_name(field.name, columns)
        kind = kinds.column_type(field.type)
        columns[name], late[name] = Column(name, kind), field.name
        changes.append(
            Change(
                change=ADD,
                column=name,
                field=field.name,
                to_type=kind,
                records=field.records,
                raw=field.raw,
                line=field.line,
            )
        )
    if len(changes) == len(schema.changes):
        return schema
    return Schema(schema.revision + 1, ordered(columns.values(), schema.columns), late, tuple(changes))


def _new(field: Seen) -> str:
    return f"field {short(field.name)} is new ({field.type or 'always null'}, {_records(field)}){_place(field)}"


def _records(seen: Seen) -> str:
    return f"{seen.records:,} record{'' if seen.records == 1 else 's'}"


def _place(seen: Seen) -> str:
    return f", first in {seen.raw} line {seen.line}" if seen.raw else ""
