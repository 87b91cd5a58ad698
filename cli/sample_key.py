"""Whether the columns that somebody names as the key can be one, and how often a sample repeats it."""

from __future__ import annotations

from collections.abc import Sequence

from chalicelib.errors import DeclarationError
from cli.sample import Sample, SampleRows


class SampleKey:
    """The key's values over a whole sample.

    `wanted` are fields of the sample or the columns they become; `fields` are the fields, known
    with the first batch.
    """

    def __init__(self, wanted: tuple[str, ...], look: Sample):
        self.wanted, self.look = wanted, look
        self.fields: tuple[str, ...] = ()
        self._values: list[tuple] = []
        self._lines: list[int] = []

    def add(self, batch: SampleRows, columns: dict[str, str]) -> None:
        """A batch that is not empty; `columns` are the names that its fields become.

        Raises DeclarationError for a key that is not among them.
        """
        if not self.fields:
            self.fields = self._found(columns)
        absent = [None] * len(batch.lines)
        self._values += zip(*(batch.fields.get(field, absent) for field in self.fields), strict=True)
        self._lines += batch.lines

    def check(self, nulls: Sequence[str]) -> str | None:
        """What to say of keys that come again; None where each record has one of its own.

        That is no fault: of such rows the last one counts, as in every run, and who named the key knows what a row is.
        Raises DeclarationError unless every record has a key.
        """
        absent = {None, "", *nulls}
        first: dict[tuple, int] = {}
        without, repeated = [], []
        for key, line in zip(self._values, self._lines, strict=True):
            if any(isinstance(value, (dict, list)) for value in key):
                raise self._refused(
                    f"holds an object or an array: {self._text(key)} at line {line}", "choose columns with plain values"
                )
            if not absent.isdisjoint(key):
                without.append((key, line))
            elif first.setdefault(key, line) != line:
                repeated.append((key, line))
        if without:
            key, line = without[0]
            raise self._refused(
                f"has no value in {self._of_all(without)}, such as line {line}: {self._text(key)}",
                "choose columns that are never empty",
            )
        if not repeated:
            return None
        key, line = repeated[0]
        return (
            f"{self._of_all(repeated)} repeat the key of an earlier one, such as line {line} that of line "
            f"{first[key]}: {self._text(key)}. The last one counts; if they are rows of their own, add columns to --key"
        )

    def _found(self, columns: dict[str, str]) -> tuple[str, ...]:
        field_of = {column: field for field, column in columns.items()} | {field: field for field in columns}
        if missing := [name or "''" for name in self.wanted if name not in field_of]:
            told = ". ".join(filter(None, (f"it has {', '.join(columns)}", self.look.headless)))
            raise self._refused(f"names what the sample has not: {', '.join(missing)}", told)
        if not self.wanted:
            raise self._refused("is empty", f"name columns that identify a record, out of {', '.join(columns)}")
        if len(set(self.wanted)) < len(self.wanted):
            raise self._refused("names a column twice", "name each once")
        return tuple(field_of[name] for name in self.wanted)

    def _refused(self, problem: str, next_step: str) -> DeclarationError:
        return DeclarationError(
            f"the key {', '.join(self.wanted)} {problem}", file=str(self.look.path), next_step=next_step
        )

    def _of_all(self, some: list) -> str:
        return f"{len(some):,} of {self.look.records:,} records"

    def _text(self, key: tuple) -> str:
        return ", ".join(f"{name}={value}" for name, value in zip(self.wanted, key, strict=True))
