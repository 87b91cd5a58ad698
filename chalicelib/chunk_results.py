"""A chunk's `results.json`: what Validate counted, and all that a later run of the same bytes needs to take it over.

It says itself what made it: which code transformed the chunk, and which judged it. `kept_chunks` decides which chunks
are to be taken over; here the stages find whether they are what these stages would make. Where Transform finds that
they are not, it makes the chunk anew; docs/decisions/0038-unchanged-chunks-are-taken-over.md.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from chalicelib import code_fingerprint
from chalicelib.contract_reading import read_contract, write_contract
from chalicelib.contracts import Chunk, TransformResult, ValidateResult
from chalicelib.errors import CHUNK_ANEW, AccountError, ContractError, NotFound
from chalicelib.lake import Lake, keys
from chalicelib.telemetry import logger

# what is there beside what was counted
_TRANSFORMED, _VALIDATED, _RAW_KEYS, _JUDGE, _ROWS_CHECKSUM, _CHECKSUM = _KEPT = (
    "transformed",
    "validated",
    "raw_keys",
    "judge",
    "rows_checksum",
    "checksum",
)
# Great Expectations and what it judges with: `code_fingerprint` leaves it out, for other functions do not have it
_JUDGES = ("great-expectations", "jsonschema", "numpy", "pandas", "python-dateutil")


def store(
    lake: Lake,
    counted: dict,
    chunk: Chunk,
    transformed: TransformResult,
    validated: ValidateResult,
    code: str,
    rows: bytes,
) -> None:
    """Write them where `validated` says; `code` is what judged the rows, `transformed` has that which made them.

    The checksums are against what is altered by mistake: CRC-32 takes 5 ms for the 13 MB of a chunk, SHA-256 16.
    """
    _put(lake, {**counted, _JUDGE: _judge(code), _ROWS_CHECKSUM: zlib.crc32(rows)}, chunk, transformed, validated)


def counted(lake: Lake, key: str, rows: bytes, **where) -> dict:
    """What Validate counted, by the object that it wrote.

    Raises NotFound or ContractError where that is gone or was altered, AccountError where `rows` are not those judged.
    """
    left = _read(lake, key, **where)
    _expect_judged(left, rows, **where)
    return {name: value for name, value in left.items() if name not in _KEPT}


def transformed(lake: Lake, chunk: Chunk, code: str) -> TransformResult | None:
    """What Transform answered for the chunk in the run that it is to be taken over from.

    None where other code than `code` transformed it, or what tells so is gone or was altered.
    """
    try:
        left = kept(lake, chunk).left
    except (NotFound, ContractError) as error:
        logger.warning("the chunk is made anew", chunk=chunk.chunk, reason=str(error))
        return None
    if left[_TRANSFORMED].get("code") != code:
        logger.info("the chunk is made anew: other code made it", chunk=chunk.chunk, done_by=chunk.done_by)
        return None
    return read_contract(TransformResult, left[_TRANSFORMED])


def is_taken_over(chunk: Chunk, transformed: TransformResult) -> bool:
    """Whether Transform has answered with what the earlier run left."""
    return chunk.done_by is not None and transformed.rows_key == keys.chunk(chunk.done_by, chunk.chunk, keys.ROWS)


@dataclass(frozen=True)
class Kept:
    """What an earlier run `left` of `chunk`, which has the raw objects of this run."""

    chunk: Chunk
    left: dict

    def is_judged_by(self, code: str) -> bool:
        """Whether `code`, with the Great Expectations that is here, would judge the rows as they were judged."""
        return self.left[_JUDGE] == _judge(code)

    def validated(self, lake: Lake, run_id: str) -> ValidateResult:
        """What Validate answered for it.

        Results that name raw objects are written once more for this run, whose objects have other names.
        """
        answer, here = read_contract(ValidateResult, self.left[_VALIDATED]), self._renamed()
        if here == self.left:
            return answer
        answer = dataclasses.replace(answer, results_key=keys.chunk(run_id, self.chunk.chunk, keys.RESULTS))
        _put(lake, here, self.chunk, read_contract(TransformResult, self.left[_TRANSFORMED]), answer)
        return answer

    def schema(self, rows: bytes) -> dict:
        """What they say of the schema, where `rows` are judged anew; raises AccountError as `counted` does."""
        _expect_judged(self.left, rows, chunk=self.chunk.chunk)
        return self._renamed()["schema"]

    def _renamed(self) -> dict:
        here = _raw_keys(self.chunk)
        return _renamed(self.left, {there: here[part] for part, there in self.left[_RAW_KEYS].items()})


def kept(lake: Lake, chunk: Chunk) -> Kept:
    """What `chunk.done_by` left of it; raises NotFound, or ContractError where it is not as Validate wrote it."""
    return Kept(chunk, _read(lake, keys.chunk(chunk.done_by, chunk.chunk, keys.RESULTS), chunk=chunk.chunk))


def _put(lake: Lake, results: dict, chunk: Chunk, transformed: TransformResult, validated: ValidateResult) -> None:
    results = {
        **results,
        _TRANSFORMED: write_contract(transformed),
        _VALIDATED: write_contract(validated),
        _RAW_KEYS: _raw_keys(chunk),
    }
    lake.put_json(validated.results_key, {**results, _CHECKSUM: _checksum(results)})


def _read(lake: Lake, key: str, **where) -> dict:
    try:
        left = lake.get_json(key)
        intact = left[_CHECKSUM] == _checksum(left) and left.keys() >= set(_KEPT)
    except NotFound as error:
        raise NotFound(f"{key} is gone", **where, next_step=CHUNK_ANEW) from error
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ContractError(f"{key} is not as Validate wrote it", **where, next_step=CHUNK_ANEW) from error
    if not intact:
        raise ContractError(f"{key} is not as Validate wrote it", **where, next_step=CHUNK_ANEW)
    return left


def _checksum(results: dict) -> int:
    """CRC-32 of the results but for itself."""
    told = {name: value for name, value in results.items() if name != _CHECKSUM}
    return zlib.crc32(orjson.dumps(told, option=orjson.OPT_SORT_KEYS))


def _expect_judged(left: dict, rows: bytes, **where) -> None:
    if zlib.crc32(rows) != left[_ROWS_CHECKSUM]:
        raise AccountError("the rows of the chunk are not those that Validate judged", **where, next_step=CHUNK_ANEW)


def _judge(code: str) -> dict:
    return {"code": code, **code_fingerprint.versions(_JUDGES)}


def _renamed(value, names: Mapping[str, str]):
    """`value` with other names for raw objects, wherever an example, or a field that was seen, says where it is."""
    if isinstance(value, dict):
        return {
            name: names.get(held, held) if name == "raw" and isinstance(held, str) else _renamed(held, names)
            for name, held in value.items()
        }
    return [_renamed(each, names) for each in value] if isinstance(value, list) else value


def _raw_keys(chunk: Chunk) -> dict[str, str]:
    return {str(piece.part): piece.raw_key for piece in chunk.slices}
