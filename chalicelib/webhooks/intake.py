"""Taking a webhook in: what is refused and why, and the one write that accepts it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from chalicelib import secrets, sources
from chalicelib.errors import RequestRefused
from chalicelib.lake import keys
from chalicelib.lake.store import Lake
from chalicelib.sources.files import FileSource
from chalicelib.webhooks import body as bodies
from chalicelib.webhooks import signature
from chalicelib.webhooks.signature import DELIVERY, SIGNATURE, TIMESTAMP

# of one body: about a thousand small events
LARGEST = 200 * 1000

# what API Gateway makes of bytes that are no UTF-8, before anybody of us sees them
_REPLACEMENT = "\ufffd".encode()

_SOURCE = re.compile(r"[a-z][a-z0-9_]{0,62}", re.ASCII)


def take_in(lake: Lake, source: str, headers: Mapping[str, str], body: bytes, now: float) -> str:
    """Keep a delivery and return its id; `now` in seconds since 1970. `headers` are found in any case.

    Raises RequestRefused with `status` and `reason`, in this order, so that nobody without a secret learns
    or costs anything: 404 where the source takes no webhooks, 413, 401, 400, 409 where the delivery was kept
    before. A body that was not UTF-8 cannot be told from a forged one that has U+FFFD: both are 400. Raises
    LakeUnavailable where S3 does not answer: what became of the write is then not known, and a repetition may
    find the delivery there.
    """
    accepted = secrets.of_webhook(source) if _SOURCE.fullmatch(source) else ()
    if not accepted or not _reads_files(source):
        raise _refused(404, "no such webhook", "no source of that name takes webhooks")
    if len(body) > LARGEST:
        raise _refused(413, "too large", f"the body has {len(body):,} bytes, {LARGEST:,} are accepted")
    timestamp, delivery, signed = (headers.get(name) or "" for name in (TIMESTAMP, DELIVERY, SIGNATURE))
    if faults := signature.faults_of_form(timestamp, delivery, signed):
        raise _refused(401, "not signed", f"{', '.join(faults)} missing or not of its form")
    if not signature.is_signed(signed, accepted, timestamp, delivery, body):
        if _REPLACEMENT in body:
            raise _refused(
                400,
                "not UTF-8",
                "the body has replacement characters, as one that is not UTF-8 is handed on, and the signature is of "
                "another body; send UTF-8",
            )
        raise _refused(401, "forged", "the signature is not that of the body with its time stamp and delivery")
    if abs(now - int(timestamp)) > signature.WINDOW:
        raise _refused(401, "stale", f"the time stamp is more than {signature.WINDOW} s from the time it is here")
    try:
        bodies.events(body)
    except ValueError as error:
        raise _refused(400, "not events", str(error)) from None
    noted = {"timestamp": timestamp}
    if not lake.put_new(keys.webhook(source, delivery), body, "application/json", noted):
        raise _refused(409, "replayed", f"the delivery {delivery} is here already")
    return delivery


def _reads_files(source: str) -> bool:
    """Whether what a webhook brings can become the input of a run."""
    return source in sources.names() and isinstance(sources.get(source), FileSource) and not _is_declared(source)


def _is_declared(source: str) -> bool:
    """Whether the source has no columns but those that a run's declaration gives it, as `files`."""
    return not sources.get(source).columns


def _refused(status: int, reason: str, message: str) -> RequestRefused:
    return RequestRefused(message, status=status, reason=reason)
