"""`POST /runs`: start a run."""

from __future__ import annotations

import hashlib
import json
import re
import secrets

from chalicelib import sources, triggers, windows
from chalicelib.contracts import RunInput
from chalicelib.errors import ContractError, RequestRefused
from chalicelib.triggers import Trigger

# not `trigger`, which we write, nor `live`, which is the laptop's
_FIELDS = ("source", "from", "to", "input", "embed", "move_cursor", "allow_gap")

IDEMPOTENCY_KEY = "Idempotency-Key"

# https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
_KEY = re.compile(r'"?[A-Za-z0-9_.:/+=-]{1,128}"?', re.ASCII)


def start(body: bytes, idempotency_key: str | None, caller: str) -> dict:
    """Start the run that `body` asks for: an object of _FIELDS; only the source is needed.

    `caller` is the name of the token. The same key of the same caller starts one run. Returns {"run_id",
    "execution", "new"}. Raises RequestRefused where `body` or the key is none, ContractError where a field is
    not, UnknownSource.
    """
    given = _object(body)
    if unknown := sorted(set(given) - set(_FIELDS)):
        raise ContractError(
            f"the body has fields that are not known: {', '.join(unknown)}",
            next_step=f"a run may have {', '.join(_FIELDS)}",
        )
    wanted = RunInput.from_json(given)
    sources.get(wanted.source)
    for name, day in (("from", wanted.start), ("to", wanted.end)):
        if day:
            windows.day(f"input.{name}", day)
    started = triggers.start(
        Trigger(
            kind="api",
            source=wanted.source,
            start=wanted.start,
            end=wanted.end,
            input=wanted.input,
            embed=wanted.embed,
            move_cursor=wanted.move_cursor,
            allow_gap=wanted.allow_gap,
            identity=_identity(idempotency_key, caller),
        )
    )
    return {"run_id": started.run_id, "execution": started.execution, "new": started.new}


def _object(body: bytes) -> dict:
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        raise RequestRefused("the body is not JSON", status=400, reason="not JSON") from None
    if not isinstance(given, dict):
        raise RequestRefused("the body is no JSON object", status=400, reason="not JSON")
    return given


def _identity(key: str | None, caller: str) -> str:
    """What makes the request the one it is; keys of several callers do not meet."""
    if key is None:
        return secrets.token_hex(8)
    if not _KEY.fullmatch(key):
        told = f"{IDEMPOTENCY_KEY} has at most 128 letters, digits and _.:/+=-"
        raise RequestRefused(told, status=400, reason="bad key")
    return hashlib.sha256(f"{caller}\n{key}".encode()).hexdigest()[:16]
