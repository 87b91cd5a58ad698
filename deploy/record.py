"""What a stage's deployments have made: one object in the stage's bucket, so that any machine can go on or destroy.

It also keeps what Chalice writes to `.chalice/deployed/<stage>.json`, which is not in the repository.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from botocore.exceptions import ClientError

from chalicelib import boto_errors
from chalicelib.errors import ConfigurationError
from deploy.kinds.base import Aws, is_gone

KEY = "deployment/record.json"
_VERSION = 1


@dataclass(frozen=True)
class Made:
    """One resource: its type and its physical id."""

    type: str
    id: str


@dataclass
class Record:
    """`resources` by logical id; `dropped` are those that a later deployment did without, until they are gone.

    `is_complete` once a deployment came to its end; `smoke_is_due` from the beginning of a smoke run until one has
    passed.
    """

    resources: dict[str, Made] = field(default_factory=dict)
    dropped: list[Made] = field(default_factory=list)
    chalice: dict | None = None
    is_complete: bool = False
    smoke_is_due: bool = False

    def id_of(self, logical_id: str, type: str) -> str | None:
        made = self.resources.get(logical_id)
        return made.id if made and made.type == type else None

    def replace(self, logical_id: str, made: Made) -> None:
        """Note what stands under a logical id now; what stood there before is to be deleted."""
        before = self.resources.get(logical_id)
        if before is not None and before != made:
            self.dropped.append(before)
        self.resources[logical_id] = made

    def to_json(self) -> dict:
        return {
            "version": _VERSION,
            "resources": {name: {"type": m.type, "id": m.id} for name, m in sorted(self.resources.items())},
            "dropped": [{"type": m.type, "id": m.id} for m in self.dropped],
            "chalice": self.chalice,
            "is_complete": self.is_complete,
            "smoke_is_due": self.smoke_is_due,
        }


def from_json(document: Mapping) -> Record:
    if document.get("version") != _VERSION:
        raise ConfigurationError(
            f"the record of what was deployed has version {document.get('version')!r}, expected {_VERSION}",
            next_step="deploy with the release of Sluice that deployed last",
        )
    return Record(
        {name: Made(**made) for name, made in document["resources"].items()},
        [Made(**made) for made in document["dropped"]],
        document["chalice"],
        document["is_complete"],
        document["smoke_is_due"],
    )


def load(aws: Aws) -> Record:
    """The record in the stage's bucket; an empty one where there is none yet."""
    try:
        answer = aws.client("s3").get_object(Bucket=aws.bucket, Key=KEY, ExpectedBucketOwner=aws.account)
    except ClientError as error:
        # without s3:ListBucket a missing object is a refusal
        if is_gone(error) or boto_errors.code(error) == "AccessDenied":
            return Record()
        raise
    return from_json(json.loads(answer["Body"].read()))


def save(aws: Aws, record: Record) -> None:
    body = json.dumps(record.to_json(), indent=2).encode()
    aws.client("s3").put_object(Bucket=aws.bucket, Key=KEY, Body=body, ContentType="application/json")
