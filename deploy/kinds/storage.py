"""S3: the bucket with all its settings, and its policy."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from botocore.exceptions import ClientError

from chalicelib import boto_errors
from chalicelib.errors import ConfigurationError
from deploy.kinds import waiting
from deploy.kinds.base import Kind, changed_tags, document, missing_is_none, tag_list, tags_of, text, without_empty

# what S3 does by itself since January 2023: https://docs.aws.amazon.com/AmazonS3/latest/userguide/default-encryption-faq.html
_ENCRYPTION = {"ServerSideEncryptionConfiguration": [{"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
_BLOCKS = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
_BUSY = ("OperationAborted", "ConditionalRequestConflict", "ServiceUnavailable")
_US_EAST_1 = "us-east-1"
_QUEUES = "QueueConfigurations"


class Bucket(Kind):
    type = "AWS::S3::Bucket"
    phase = 0
    keeps_data = True
    required = ("BucketName",)
    replaced_by = ("BucketName",)
    defaults: ClassVar = {
        "BucketEncryption": _ENCRYPTION,
        "VersioningConfiguration": None,
        "PublicAccessBlockConfiguration": None,
        "OwnershipControls": None,
        "LifecycleConfiguration": None,
        "NotificationConfiguration": None,
        "Tags": None,
    }

    def check(self, name, properties):
        others = sorted(set(properties.get("NotificationConfiguration") or {}) - {_QUEUES})
        return super().check(name, properties) + [
            f"{name} ({self.type}): `sluice deploy` does not know {other} of a bucket's notifications"
            for other in others
        ]

    def complete(self, properties: dict) -> dict:
        completed = super().complete(properties)
        for rule in (completed["BucketEncryption"] or {}).get("ServerSideEncryptionConfiguration", []):
            if rule.get("BucketKeyEnabled") == "false":
                rule.pop("BucketKeyEnabled")
        if completed["VersioningConfiguration"] == {"Status": "Suspended"}:
            completed["VersioningConfiguration"] = None  # the state before is not to be had again
        if notices := (properties.get("NotificationConfiguration") or {}).get(_QUEUES):
            completed["NotificationConfiguration"] = {_QUEUES: sorted(map(_comparable, notices), key=json.dumps)}
        return completed

    def predicted(self, aws, properties):
        return properties["BucketName"]

    def attribute(self, aws, physical_id, properties, name):
        bucket = properties["BucketName"]
        if name == "Arn":
            return f"arn:{aws.partition}:s3:::{bucket}"
        if name in ("DomainName", "RegionalDomainName"):
            region = f"{aws.region}." if name == "RegionalDomainName" else ""
            return f"{bucket}.s3.{region}{aws.pseudo['AWS::URLSuffix']}"
        return super().attribute(aws, physical_id, properties, name)

    def find(self, aws, properties):
        name = properties["BucketName"]
        try:
            answer = aws.client("s3").head_bucket(Bucket=name, ExpectedBucketOwner=aws.account)
        except ClientError as error:
            if boto_errors.code(error) in ("404", "NoSuchBucket"):
                return None
            if boto_errors.code(error) in ("403", "301", "AccessDenied"):
                raise ConfigurationError(
                    f"the bucket {name} belongs to another account, is in another region, or may not be looked at",
                    next_step="give another one as `deployment.bucket` in .chalice/config.json, or get s3:ListBucket",
                ) from error
            raise
        # boto3 follows S3 to wherever the bucket is
        if (region := answer.get("BucketRegion", aws.region)) != aws.region:
            raise ConfigurationError(
                f"the bucket {name} is in {region}, the stage is deployed to {aws.region}",
                next_step="give another one as `deployment.bucket` in .chalice/config.json, or deploy there",
            )
        return name

    def read(self, aws, physical_id):
        client = aws.client("s3")
        if self.find(aws, {"BucketName": physical_id}) is None:
            return None
        get = _Settings(client, physical_id)
        versioning = get("versioning", "Status")
        rules = get("ownership_controls", "OwnershipControls")
        return without_empty(
            {
                "BucketName": physical_id,
                "VersioningConfiguration": versioning and {"Status": versioning},
                "BucketEncryption": _of_encryption(get("encryption", "ServerSideEncryptionConfiguration")),
                "PublicAccessBlockConfiguration": get("public_access_block", "PublicAccessBlockConfiguration"),
                "OwnershipControls": rules,
                "LifecycleConfiguration": _of_rules(get("lifecycle_configuration", "Rules")),
                "NotificationConfiguration": _of_notices(get("notification_configuration", _QUEUES)),
                "Tags": tag_list(get("tagging", "TagSet")),
            }
        )

    def create(self, aws, properties):
        name = properties["BucketName"]
        # us-east-1 is the one region that must not be named
        place = {} if aws.region == _US_EAST_1 else {"CreateBucketConfiguration": {"LocationConstraint": aws.region}}
        client = aws.client("s3")
        try:
            waiting.retried(lambda: client.create_bucket(Bucket=name, **place), _BUSY)
        except ClientError as error:
            if boto_errors.code(error) != "BucketAlreadyOwnedByYou":
                raise
        client.get_waiter("bucket_exists").wait(Bucket=name)
        self.update(aws, name, {"BucketName": name}, properties)
        return name

    def update(self, aws, physical_id, present, wanted):
        client, bucket = aws.client("s3"), {"Bucket": physical_id}
        have, want = self.complete(present), self.complete(wanted)

        def put(name: str, setter, *arguments) -> None:
            if have.get(name) != want.get(name):
                waiting.retried(lambda: setter(*arguments), _BUSY)

        # first of all, so that the bucket is known as ours wherever this breaks
        put("Tags", _tag, client, physical_id, wanted.get("Tags"))
        put("PublicAccessBlockConfiguration", _block, client, bucket, wanted.get("PublicAccessBlockConfiguration"))
        put("OwnershipControls", _own, client, bucket, wanted.get("OwnershipControls"))
        put("VersioningConfiguration", _version, client, bucket, wanted.get("VersioningConfiguration"))
        put("BucketEncryption", _encrypt, client, bucket, wanted.get("BucketEncryption") or _ENCRYPTION)
        put("LifecycleConfiguration", _expire, client, bucket, wanted.get("LifecycleConfiguration"))
        if have.get("NotificationConfiguration") != want.get("NotificationConfiguration"):
            # S3 asks the queue at once, whose policy may not be known everywhere yet
            notices = wanted.get("NotificationConfiguration")
            waiting.retried(lambda: notify(client, bucket, notices), _BUSY)

    def owner(self, aws, physical_id, present):
        """Ours by its tag; one of our name in our account that is empty was being made when something broke."""
        owner = super().owner(aws, physical_id, present)
        if owner is None and not present.get("Tags"):
            is_empty = not aws.client("s3").list_objects_v2(Bucket=physical_id, MaxKeys=1).get("KeyCount")
            return aws.prefix if is_empty else None
        return owner

    def retire(self, aws, physical_id):
        """It tells nobody any more of what comes in: the queues go."""
        if self.find(aws, {"BucketName": physical_id}) is not None:
            notify(aws.client("s3"), {"Bucket": physical_id}, None)

    def delete(self, aws, physical_id):
        """With all its objects and their versions: who calls this was told to by the bucket's name."""
        client = aws.client("s3")
        if self.find(aws, {"BucketName": physical_id}) is None:
            return
        for page in client.get_paginator("list_object_versions").paginate(Bucket=physical_id):
            found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            objects = [{"Key": o["Key"], "VersionId": o["VersionId"]} for o in found]
            if objects:
                answer = client.delete_objects(Bucket=physical_id, Delete={"Objects": objects, "Quiet": True})
                if answer.get("Errors"):
                    first = answer["Errors"][0]
                    raise ConfigurationError(f"{physical_id} cannot be emptied: {first['Key']}: {first.get('Message')}")
        for page in client.get_paginator("list_multipart_uploads").paginate(Bucket=physical_id):
            for upload in page.get("Uploads", []):
                client.abort_multipart_upload(Bucket=physical_id, Key=upload["Key"], UploadId=upload["UploadId"])
        waiting.retried(lambda: client.delete_bucket(Bucket=physical_id), (*_BUSY, "BucketNotEmpty"))


class BucketPolicy(Kind):
    type = "AWS::S3::BucketPolicy"
    phase = 1
    keeps_data = True  # it guards the bucket for as long as that is there
    required = ("Bucket", "PolicyDocument")
    replaced_by = ("Bucket",)

    def predicted(self, aws, properties):
        return properties["Bucket"]

    def find(self, aws, properties):
        return properties["Bucket"]

    @missing_is_none
    def read(self, aws, physical_id):
        found = aws.client("s3").get_bucket_policy(Bucket=physical_id)["Policy"]
        return {"Bucket": physical_id, "PolicyDocument": document(found)}

    def create(self, aws, properties):
        client, bucket = aws.client("s3"), properties["Bucket"]
        policy = text(properties["PolicyDocument"])
        waiting.retried(lambda: client.put_bucket_policy(Bucket=bucket, Policy=policy), (*_BUSY, "NoSuchBucket"))
        return bucket

    def update(self, aws, physical_id, present, wanted):
        self.create(aws, wanted)

    @missing_is_none
    def delete(self, aws, physical_id):
        aws.client("s3").delete_bucket_policy(Bucket=physical_id)

    def owner(self, aws, physical_id, present):
        return aws.prefix  # no tags of its own: it goes with the bucket


class _Settings:
    """One setting of a bucket at a time; None where it is not set."""

    def __init__(self, client, bucket: str):
        self._client, self._bucket = client, bucket

    @missing_is_none
    def __call__(self, setting: str, key: str) -> Any:
        return getattr(self._client, f"get_bucket_{setting}" if setting != "public_access_block" else f"get_{setting}")(
            Bucket=self._bucket
        ).get(key)


def _tag(client, bucket: str, tags: Any) -> None:
    present = tags_of(_Settings(client, bucket)("tagging", "TagSet"))
    added, dropped = changed_tags(present, tags)
    wanted = {**{k: v for k, v in present.items() if k not in dropped}, **added}
    if wanted:
        client.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tag_list(wanted)})
    else:
        client.delete_bucket_tagging(Bucket=bucket)


def _block(client, bucket: dict, wanted: dict | None) -> None:
    if wanted:
        blocks = {name: wanted.get(name, False) for name in _BLOCKS}
        client.put_public_access_block(**bucket, PublicAccessBlockConfiguration=blocks)
    else:
        client.delete_public_access_block(**bucket)


def _own(client, bucket: dict, wanted: dict | None) -> None:
    if wanted:
        client.put_bucket_ownership_controls(**bucket, OwnershipControls=wanted)
    else:
        client.delete_bucket_ownership_controls(**bucket)


def _version(client, bucket: dict, wanted: dict | None) -> None:
    client.put_bucket_versioning(**bucket, VersioningConfiguration=wanted or {"Status": "Suspended"})


def _encrypt(client, bucket: dict, wanted: dict) -> None:
    rules = [
        {
            **{k: v for k, v in rule.items() if k != "ServerSideEncryptionByDefault"},
            "ApplyServerSideEncryptionByDefault": rule["ServerSideEncryptionByDefault"],
        }
        for rule in wanted["ServerSideEncryptionConfiguration"]
    ]
    client.put_bucket_encryption(**bucket, ServerSideEncryptionConfiguration={"Rules": rules})


def _of_encryption(found: dict | None) -> dict | None:
    return found and {
        "ServerSideEncryptionConfiguration": [
            without_empty(
                {
                    "ServerSideEncryptionByDefault": rule.get("ApplyServerSideEncryptionByDefault"),
                    "BucketKeyEnabled": rule.get("BucketKeyEnabled"),
                }
            )
            for rule in found["Rules"]
        ]
    }


def _expire(client, bucket: dict, wanted: dict | None) -> None:
    if wanted and wanted["Rules"]:
        rules = [_to_rule(rule) for rule in wanted["Rules"]]
        client.put_bucket_lifecycle_configuration(**bucket, LifecycleConfiguration={"Rules": rules})
    else:
        client.delete_bucket_lifecycle(**bucket)


def notify(client, bucket: dict, wanted: dict | None) -> None:
    """Let the bucket tell queues as `wanted` says, a NotificationConfiguration, and nobody else."""
    notices = [
        {
            "QueueArn": notice["Queue"],
            "Events": [notice["Event"]],
            **({"Filter": {"Key": {"FilterRules": _filter_of(notice)}}} if "Filter" in notice else {}),
        }
        for notice in (wanted or {}).get(_QUEUES, [])
    ]
    configuration = {_QUEUES: notices} if notices else {}
    waiting.retried(
        lambda: client.put_bucket_notification_configuration(**bucket, NotificationConfiguration=configuration),
        ("InvalidArgument",),
        saying="destination",
    )


def _filter_of(notice: dict) -> list[dict]:
    return notice.get("Filter", {}).get("S3Key", {}).get("Rules", [])


def _of_notices(notices: list[dict] | None) -> dict | None:
    return notices and {
        _QUEUES: [
            {
                "Queue": notice["QueueArn"],
                "Event": event,
                **({"Filter": {"S3Key": {"Rules": rules}}} if rules else {}),
            }
            for notice in notices
            for event in notice["Events"]
            for rules in (notice.get("Filter", {}).get("Key", {}).get("FilterRules", []),)
        ]
    }


def _comparable(notice: dict) -> dict:
    """S3 writes `Prefix` where it was told `prefix`."""
    rules = sorted([rule["Name"].lower(), rule["Value"]] for rule in _filter_of(notice))
    return {"Queue": notice["Queue"], "Event": notice["Event"], "Rules": rules}


_RULE = {
    "Id": "ID",
    "Status": "Status",
    "AbortIncompleteMultipartUpload": "AbortIncompleteMultipartUpload",
    "NoncurrentVersionExpiration": "NoncurrentVersionExpiration",
}


def _to_rule(rule: dict) -> dict:
    known = {*_RULE, "Prefix", "ExpirationInDays", "ExpiredObjectDeleteMarker", "Transitions"}
    if unknown := sorted(set(rule) - {*known, "NoncurrentVersionTransitions"}):
        raise ConfigurationError(f"`sluice deploy` does not know {', '.join(unknown)} of a lifecycle rule")
    made = {theirs: rule[ours] for ours, theirs in _RULE.items() if ours in rule}
    for name in ("AbortIncompleteMultipartUpload", "NoncurrentVersionExpiration"):
        if name in made:
            made[name] = {key: int(days) for key, days in made[name].items()}
    made["Filter"] = {"Prefix": rule.get("Prefix", "")}
    if "ExpirationInDays" in rule:
        made["Expiration"] = {"Days": int(rule["ExpirationInDays"])}
    elif rule.get("ExpiredObjectDeleteMarker"):
        made["Expiration"] = {"ExpiredObjectDeleteMarker": True}
    if "Transitions" in rule:
        made["Transitions"] = [
            {"Days": int(t["TransitionInDays"]), "StorageClass": t["StorageClass"]} for t in rule["Transitions"]
        ]
    if "NoncurrentVersionTransitions" in rule:
        made["NoncurrentVersionTransitions"] = [
            {"NoncurrentDays": int(t["TransitionInDays"]), "StorageClass": t["StorageClass"]}
            for t in rule["NoncurrentVersionTransitions"]
        ]
    return made


def _of_rules(rules: list[dict] | None) -> dict | None:
    return rules and {"Rules": [_of_rule(rule) for rule in rules]}


def _of_rule(rule: dict) -> dict:
    made = {ours: rule[theirs] for ours, theirs in _RULE.items() if rule.get(theirs)}
    made["Prefix"] = rule.get("Prefix", rule.get("Filter", {}).get("Prefix"))
    expiration = rule.get("Expiration", {})
    made["ExpirationInDays"] = expiration.get("Days")
    made["ExpiredObjectDeleteMarker"] = expiration.get("ExpiredObjectDeleteMarker")
    made["Transitions"] = [
        {"TransitionInDays": t["Days"], "StorageClass": t["StorageClass"]} for t in rule.get("Transitions", [])
    ]
    made["NoncurrentVersionTransitions"] = [
        {"TransitionInDays": t["NoncurrentDays"], "StorageClass": t["StorageClass"]}
        for t in rule.get("NoncurrentVersionTransitions", [])
    ]
    return without_empty({name: value for name, value in made.items() if value is not False})


KINDS = (Bucket, BucketPolicy)
