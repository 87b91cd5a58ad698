"""The signature of a webhook: `sha256=` and the hex of HMAC-SHA256 over `<timestamp>.<delivery>.<body>`.

Time stamp and delivery are signed with the body, so that neither can be changed to send it again.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable

TIMESTAMP = "X-Sluice-Timestamp"  # seconds since 1970
DELIVERY = "X-Sluice-Delivery"  # the sender's name for what is delivered: the same when it is sent again
SIGNATURE = "X-Sluice-Signature"

# seconds that a time stamp may differ from our clock, either way
WINDOW = 300

_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)
_DELIVERY = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_SIGNATURE = re.compile(r"sha256=[0-9a-f]{64}", re.ASCII)


def sign(secret: str, timestamp: str, delivery: str, body: bytes) -> str:
    """The value of the header X-Sluice-Signature."""
    signed = b".".join([timestamp.encode(), delivery.encode(), body])
    return "sha256=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def is_signed(signature: str, secrets: Iterable[str], timestamp: str, delivery: str, body: bytes) -> bool:
    """Whether one of `secrets` made the signature; takes as long for any wrong one."""
    # all are tried: which one it was is not to be seen from the time it takes
    found = [hmac.compare_digest(sign(secret, timestamp, delivery, body), signature) for secret in secrets]
    return any(found)


def faults_of_form(timestamp: str, delivery: str, signature: str) -> list[str]:
    """The headers, by name, that are missing or not of their form."""
    forms = ((TIMESTAMP, _TIMESTAMP, timestamp), (DELIVERY, _DELIVERY, delivery), (SIGNATURE, _SIGNATURE, signature))
    return [name for name, form, value in forms if not form.fullmatch(value)]
