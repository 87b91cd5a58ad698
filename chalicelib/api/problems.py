"""Errors as problem documents, by RFC 9457 (https://www.rfc-editor.org/rfc/rfc9457)."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus

from chalicelib.errors import (
    ContractError,
    NotFound,
    RequestRefused,
    SluiceError,
    TransientError,
    TriggerConflict,
    UnknownSource,
)

CONTENT_TYPE = "application/problem+json"
RETRY_SECONDS = 5

_STATUS = {ContractError: 422, UnknownSource: 404, NotFound: 404, TriggerConflict: 409}


@dataclass(frozen=True)
class Problem:
    """A problem's status, its document and the headers that go with it; `reason` is one for programs."""

    status: int
    document: dict
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        return self.document["reason"]


def of(error: Exception, path: str) -> Problem:
    """What a request to `path` that raised is answered; an error of ours tells what it is about, others nothing."""
    if isinstance(error, RequestRefused):
        told = error.message + (f". Next: {error.next_step}" if error.next_step else "")
        problem = _problem(error.where["status"], told, error.where["reason"], path)
        if faults := error.where.get("errors"):
            problem.document["errors"] = faults
        return problem
    if isinstance(error, TransientError):
        # what is out of reach, and where, is in the log
        told = "something that is needed does not answer at the moment; send it again"
        return _problem(503, told, "unavailable", path, {"Retry-After": str(RETRY_SECONDS)})
    status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 500)
    if isinstance(error, SluiceError) and status < 500:
        return _problem(status, str(error), type(error).__name__, path)
    return _problem(500, "the request failed; the log of the API says why", "failed", path)


def _problem(status: int, detail: str, reason: str, path: str, headers: dict[str, str] | None = None) -> Problem:
    document = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "reason": reason,
        "instance": path,
    }
    return Problem(status, document, headers or {})
