"""`GET /health`."""

from __future__ import annotations

from typing import Literal

from chalicelib import settings
from chalicelib.api.answering import Request
from chalicelib.api.models import Answer


class Health(Answer):
    status: Literal["ok"]
    stage: str


def health(request: Request) -> dict:
    return {"status": "ok", "stage": settings.current().stage}
