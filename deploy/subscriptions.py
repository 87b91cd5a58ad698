"""One subscription to the alerts per email address."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def of_addresses(addresses: Iterable[str]) -> dict[str, dict]:
    """The subscriptions, by logical id; an id keeps to its address whatever others come and go."""
    return {
        f"AlertsTo{hashlib.sha256(address.encode()).hexdigest()[:8]}": {
            "Type": "AWS::SNS::Subscription",
            "Properties": {"TopicArn": {"Ref": "AlertsTopic"}, "Protocol": "email", "Endpoint": address},
        }
        for address in sorted(set(addresses))
    }
