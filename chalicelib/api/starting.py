"""`POST /runs`: start a run."""

from __future__ import annotations

import hashlib
import secrets
from typing import Annotated

from pydantic import Field

from chalicelib import sources, triggers
from chalicelib.api.answering import Request
from chalicelib.api.callers import IDEMPOTENCY_KEY
from chalicelib.api.models import Answer, Body, Day, Parameters, SourceName, Text
from chalicelib.api.table import ADMIN
from chalicelib.errors import RequestRefused, TriggerConflict
from chalicelib.run_input import RunInput
from chalicelib.triggers.trigger import API, asked


class StartHeaders(Parameters):
    # https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
    idempotency_key: Annotated[
        str | None,
        Field(
            alias=IDEMPOTENCY_KEY,
            description="The same key of the same token starts one run; without one, every request is a run. "
            "The quotes of the draft may be left out.",
            pattern=r'^("[A-Za-z0-9_.:/+=-]{1,128}"|[A-Za-z0-9_.:/+=-]{1,128})$',
            examples=["orders-2026-11-21"],
        ),
    ] = None


class StartBody(Body):
    # not `trigger`, which we write, nor `live`, which is the laptop's
    source: SourceName
    start: Annotated[Day | None, Field(alias="from", description="The first day of the window.")] = None
    end: Annotated[Day | None, Field(alias="to", description="Its last day.")] = None
    input: Annotated[Text | None, Field(description="What only the source understands.")] = None
    embed: Annotated[bool | None, Field(description="Whether texts get vectors; null: if the source has any.")] = None
    move_cursor: Annotated[bool | None, Field(description="Whether the window moves the source's cursor.")] = None
    allow_gap: Annotated[bool | None, Field(description="Whether it may leave out days before it.")] = None
    from_scratch: Annotated[bool | None, Field(description="Whether nothing is taken over from an earlier run.")] = None


class StartedRun(Answer):
    run_id: str
    execution: Annotated[str, Field(description="The ARN of the execution.")]
    new: Annotated[bool, Field(description="False where the same request was there before.")]


def start(request: Request) -> triggers.Started:
    """Raises UnknownSource, ContractError for a window that can only fail, TriggerConflict.

    RequestRefused where the run is to declare what it reads, which may be any object or host that the pipeline
    reaches, with no column personal, and the caller is not `admin`.
    """
    body, key = request.body, request.headers.idempotency_key
    if sources.get(body.source).is_declared_by_run and body.input is not None and not request.caller.may(ADMIN):
        told = f"the token has not the scope {ADMIN!r}, without which {body.source} takes no input"
        raise RequestRefused(told, status=403, reason="scope")
    given = body.model_dump(mode="json", by_alias=True, exclude_none=True)
    trigger = asked(API, _identity(key, request.caller.name), RunInput.from_json(given))
    try:
        return triggers.start(trigger)
    except TriggerConflict as error:
        if key is None:
            raise
        raise TriggerConflict(
            f"the {IDEMPOTENCY_KEY} {key} cannot start this run: {error.message}",
            next_step=error.next_step or "send another key with another request",
            **error.where,
        ) from error


def _identity(key: str | None, caller: str) -> str:
    """What makes the request the one it is; keys of several callers do not meet."""
    if key is None:
        return secrets.token_hex(8)
    bare = key.strip('"')  # a pair or none, says the header's pattern
    return hashlib.sha256(f"{caller}\n{bare}".encode()).hexdigest()[:16]
