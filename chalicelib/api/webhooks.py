"""`POST /webhooks/{source}`: what senders sign. Checked in `chalicelib/webhooks`; the models only describe it."""

from __future__ import annotations

import time
from typing import Annotated, Any

from pydantic import Field, RootModel

from chalicelib import settings
from chalicelib.api.answering import Request
from chalicelib.api.models import Answer, Parameters, SourceName
from chalicelib.lake.store import Lake, impatient_client
from chalicelib.webhooks import intake
from chalicelib.webhooks.signature import DELIVERY, SIGNATURE, TIMESTAMP


class WebhookPath(Parameters):
    source: SourceName


class WebhookHeaders(Parameters):
    timestamp: Annotated[str, Field(alias=TIMESTAMP, description="Seconds since 1970.", pattern="^[0-9]{1,12}$")]
    delivery: Annotated[
        str,
        Field(alias=DELIVERY, description="The sender's id of what it sends.", pattern="^[A-Za-z0-9_-]{1,64}$"),
    ]
    signature: Annotated[
        str,
        Field(
            alias=SIGNATURE,
            description="`sha256=` and the hex of HMAC-SHA256 by the secret over `<timestamp>.<delivery>.<body>`.",
            pattern="^sha256=[0-9a-f]{64}$",
        ),
    ]


class Events(RootModel[dict[str, Any] | list[dict[str, Any]]]):
    """One event or several, each a record of the source."""


class Delivery(Answer):
    delivery: str


def take_in(request: Request) -> dict:
    lake = Lake(settings.current().bucket, impatient_client())
    source = request.parameters["source"]
    return {"delivery": intake.take_in(lake, source, request.headers, request.body, time.time())}
