"""Write a source module and an expectation suite from a sample file; both are meant to be edited."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chalicelib import sources
from chalicelib.columns import Column
from chalicelib.errors import DeclarationError
from chalicelib.schema import DISCARD
from chalicelib.schema.names import sql_name
from cli import suite_from_sample
from cli.inference import Profile, adopted_nulls
from cli.sample import RECORDS, Sample
from cli.sample_key import SampleKey

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Created:
    """What was written, and what it rests on."""

    name: str
    module_path: Path
    suite_path: Path
    sample: Path
    records: int
    complete: bool  # whether the sample was read to its end
    malformed: tuple[tuple[int, str], ...]  # (line, reason)
    columns: tuple[Column, ...]
    rename: dict[str, str]  # field -> column, where they differ
    nulls: tuple[str, ...]
    key: tuple[str, ...]
    repeated: str | None  # how often the key comes again
    headless: str | None  # why the first line of a CSV may be a record

    def summary(self) -> str:
        whole = "all" if self.complete else "the first"
        lines = [
            f"Looked at {whole} {self.records:,} records of {self.sample}.",
            f"Source     {self.module_path}",
            f"Suite      {self.suite_path}",
            f"Key        {', '.join(self.key)}",
            "Columns    " + ", ".join(f"{column.name} {column.type}" for column in self.columns),
        ]
        if self.rename:
            lines.append("Renamed    " + ", ".join(f"{field!r} to {column}" for field, column in self.rename.items()))
        if self.repeated:
            lines.append(f"Repeated   {self.repeated} with --force")
        if self.nulls:
            lines.append("Nulls      " + ", ".join(self.nulls))
        if self.malformed:
            line, reason = self.malformed[0]
            lines.append(f"Malformed  {len(self.malformed):,} records, the first at line {line}: {reason}")
        if self.headless:
            lines.append(f"Header     {self.headless} with --force")
        return "\n".join(lines)


def create(
    name: str,
    sample: Path,
    key: Sequence[str],
    folder: Path = ROOT,
    force: bool = False,
    limit: int = RECORDS,
    contract: str = DISCARD,
) -> Created:
    """Write `chalicelib/sources/<name>.py` and `expectations/<name>.json` below `folder`.

    `key` names fields of the sample, or the columns they become; `contract` is the source's
    `schema_contract`. At most `limit` records are looked
    at. Raises DeclarationError for a name or a key that cannot be used, RawError or SourceError for
    a sample that cannot.
    """
    module_path = folder / "chalicelib" / "sources" / f"{name}.py"
    suite_path = folder / "expectations" / f"{name}.json"
    _check_name(name, (module_path, suite_path), force)
    look = Sample(Path(sample), limit)
    profiles, sample_key = _profiled(look, tuple(key))
    nulls = adopted_nulls(profiles)
    for profile in profiles:
        profile.settle(frozenset(nulls))
    names = _column_names([profile.field for profile in profiles])
    repeated = sample_key.check(nulls)
    key_columns = tuple(names[field] for field in sample_key.fields)
    columns = tuple(
        Column(names[profile.field], profile.type, nullable=names[profile.field] not in key_columns)
        for profile in profiles
    )
    created = Created(
        name=name,
        module_path=module_path,
        suite_path=suite_path,
        sample=look.path,
        records=look.records,
        complete=look.complete,
        malformed=tuple(look.malformed),
        columns=columns,
        rename={field: column for field, column in names.items() if field != column},
        nulls=nulls,
        key=key_columns,
        repeated=repeated,
        headless=look.headless,
    )
    suite = suite_from_sample.suite(name, columns, key_columns, profiles, look.records, is_unique=repeated is None)
    suite_path.parent.mkdir(parents=True, exist_ok=True)
    module_path.parent.mkdir(parents=True, exist_ok=True)
    suite_path.write_text(json.dumps(suite, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    module_path.write_text(_module(created, look, contract), encoding="utf-8")
    return created


# --- the name ------------------------------------------------------------------------------------


def _check_name(name: str, paths: Sequence[Path], force: bool) -> None:
    if (reason := sources.objection(name)) is not None:
        raise DeclarationError(f"{name!r} cannot name a source: {reason}", next_step="choose another name")
    if not force and (there := [str(path) for path in paths if path.exists()]):
        raise DeclarationError(
            f"there is a source {name!r} already: {', '.join(there)}",
            next_step="choose another name, or overwrite it with --force",
        )


# --- columns -------------------------------------------------------------------------------------


def _profiled(look: Sample, wanted: tuple[str, ...]) -> tuple[list[Profile], SampleKey]:
    profiles: dict[str, Profile] = {}
    key = SampleKey(wanted, look)
    for batch in look.batches():
        for field, values in batch.fields.items():
            profiles.setdefault(field, Profile(field)).add(values, look.is_csv)
        if batch.lines:
            key.add(batch, _column_names(list(batch.fields)))
    return list(profiles.values()), key


def _column_names(fields: Sequence[str]) -> dict[str, str]:
    """field -> a lower-case SQL name of its own: `Order ID` and `orderId` become order_id."""
    names: dict[str, str] = {}
    for number, field in enumerate(fields, 1):
        text = sql_name(field, str(number))
        name, again = text, 2
        while name in names.values():
            name, again = f"{text}_{again}", again + 1
        names[field] = name
    return names


# --- the module ----------------------------------------------------------------------------------

_TEMPLATE = '''"""{title}: files like {sample}.

Made by `sluice new source` from {looked} records, and meant to be edited: types that are too
narrow, columns that nobody needs, values to clean in transform(). What must hold for the rows is
in expectations/{name}.json.
"""

{imports}from chalicelib.columns import Column
from chalicelib.sources.files import FileSource


class {cls}(FileSource):
    name = "{name}"
    key = {key}
    columns = (
{columns}
    )
{options}    # fields that are not declared: discard keeps them in raw only, freeze fails the run, evolve adds columns
    schema_contract = {contract}
    # what `sluice run {name}` reads without --input
    default_input = {default}

    # One row in, one row out, index kept. Values become the column types afterwards; what does not
    # fit its column is set aside with the reason.
    #
    # def transform(self, frame):
    #     frame["{example}"] = frame["{example}"].str.strip()
    #     return frame
'''


def _module(created: Created, look: Sample, contract: str) -> str:
    options = [f"    format = {_quoted(look.format)}\n"]
    if look.delimiter:
        options.append(f"    delimiter = {_quoted(look.delimiter)}\n")
    if created.nulls:
        options.append(f"    nulls = {_tuple(created.nulls)}  # in every column, besides the empty field\n")
    if created.rename:
        pairs = "".join(f"        {_quoted(old)}: {_quoted(new)},\n" for old, new in created.rename.items())
        options.append(f"    rename: ClassVar = {{  # field in the file: column in the table\n{pairs}    }}\n")
    days = [column.name for column in created.columns if column.type == "date"]
    if len(days) == 1:  # whether it is the day of the row, or somebody's birthday, the sample does not tell
        options.append(f"    # by which rows are counted, drawn and asked for:\n    # day = {_quoted(days[0])}\n")
    texts = [column.name for column in created.columns if column.type == "text"]
    return _TEMPLATE.format(
        title=created.name,
        name=created.name,
        sample=created.sample.name.replace("\\", "/").replace('"', "'"),
        looked=f"{'' if created.complete else 'its first '}{created.records:,}",
        imports="from typing import ClassVar\n\n" if created.rename else "",
        cls="".join(part.capitalize() for part in created.name.split("_")),
        key=_tuple(created.key),
        columns="\n".join(
            f"        Column({_quoted(c.name)}, {_quoted(c.type)}{'' if c.nullable else ', nullable=False'}),"
            for c in created.columns
        ),
        options="".join(options),
        contract=_quoted(contract),
        default=_quoted(str(created.sample)),
        example=(texts or [created.columns[0].name])[0],
    )


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _tuple(items: Sequence[str]) -> str:
    line = "(" + ", ".join(map(_quoted, items)) + ("," if len(items) == 1 else "") + ")"
    if len(line) <= 100:
        return line
    return "(\n" + "".join(f"        {_quoted(item)},\n" for item in items) + "    )"
