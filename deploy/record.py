"""What a stage's deployments have made: one object in the stage's bucket, so that any machine can go on or destroy.

It also keeps what Chalice writes to `.chalice/deployed/<stage>.json`, which is not in the repository.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from botocore.exceptions import ClientError

from chalicelib import boto_errors
from chalicelib.errors import ConfigurationError, DeploymentError
from deploy.kinds.base import Aws, is_gone, missing_is_none

KEY = "deployment/record.json"
_VERSION = 1

# what S3 says where the object is not the one that was loaded, or is being written by somebody else at the moment
_OVERTAKEN = ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey")


@dataclass(frozen=True)
class Made:
    """One resource: its type and its physical id."""

    type: str
    id: str


@dataclass
class Record:
    """`resources` by logical id; `dropped` are those that a later deployment did without, until they are gone.

    `is_complete` once a deployment came to its end; `smoke_is_due` from the beginning of a smoke run until one has
    passed. `etag` is that of the object it was read from or saved as.
    """

    resources: dict[str, Made] = field(default_factory=dict)
    dropped: list[Made] = field(default_factory=list)
    chalice: dict | None = None
    is_complete: bool = False
    smoke_is_due: bool = False
    etag: str | None = None

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
    """The record in the stage's bucket; an empty one where there is none yet.

    Raises ConfigurationError where it may not be read: taken for none, it would be overwritten.
    """
    try:
        answer = aws.client("s3").get_object(Bucket=aws.bucket, Key=KEY, ExpectedBucketOwner=aws.account)
    except ClientError as error:
        if is_gone(error):
            return Record()
        if boto_errors.code(error) in ("403", "AccessDenied"):
            raise ConfigurationError(
                f"what was deployed is not known, for s3://{aws.bucket}/{KEY} may not be read: {error}",
                next_step="let an administrator allow s3:GetObject on it and s3:ListBucket on the bucket; where the "
                "bucket is another account's, give another `deployment.bucket` in .chalice/config.json",
            ) from error
        raise
    record = from_json(json.loads(answer["Body"].read()))
    record.etag = answer["ETag"]
    return record


def save(aws: Aws, record: Record) -> None:
    """Write it over the one that was loaded; DeploymentError where somebody else has written since."""
    client, place = aws.client("s3"), {"Bucket": aws.bucket, "Key": KEY}
    body = json.dumps(record.to_json(), indent=2).encode()
    condition = {"IfMatch": record.etag} if record.etag else {"IfNoneMatch": "*"}
    try:
        answer = client.put_object(**place, Body=body, ContentType="application/json", **condition)
    except ClientError as error:
        if boto_errors.code(error) not in _OVERTAKEN:
            raise
        answer = _there(client, place)
        # boto3 sends again what it got no answer to: then it is our own
        if answer is None or answer["Body"].read() != body:
            raise DeploymentError(
                f"s3://{aws.bucket}/{KEY} is not as this began with: another deployment of stage {aws.stage} is under "
                "way, or was meanwhile",
                next_step="wait until no other one runs; the same command again goes on from there",
            ) from error
    record.etag = answer["ETag"]


@missing_is_none
def _there(client, place: dict) -> dict:
    return client.get_object(**place)
