"""KMS: the key and its alias."""

from __future__ import annotations

from typing import ClassVar

from deploy.kinds import waiting
from deploy.kinds.base import TAG, Aws, Kind, document, missing_is_none, retag, tag_list, tags_of, text

_LATEST = 30  # days, as CloudFormation has it; until then the key can be had back


class Key(Kind):
    type = "AWS::KMS::Key"
    phase = 2
    keeps_data = True  # without it, what it encrypted is lost
    required = ("KeyPolicy",)
    replaced_by = ("KeySpec", "KeyUsage", "MultiRegion")
    defaults: ClassVar = {
        "Description": "",
        "EnableKeyRotation": False,
        "Enabled": True,
        "KeySpec": "SYMMETRIC_DEFAULT",
        "KeyUsage": "ENCRYPT_DECRYPT",
        "MultiRegion": False,
        "PendingWindowInDays": _LATEST,
        "Tags": None,
    }
    unread = ("PendingWindowInDays",)

    def identity(self):
        return (*self.replaced_by, "Tags")

    def attribute(self, aws, physical_id, properties, name):
        if name == "Arn":
            return physical_id and aws.arn("kms", f"key/{physical_id}")
        if name == "KeyId":
            return physical_id
        return super().attribute(aws, physical_id, properties, name)

    def find(self, aws: Aws, properties: dict) -> str | None:
        """It has no name: the one that bears our tag."""
        client = aws.client("kms")
        if TAG not in (wanted := tags_of(properties.get("Tags"))):
            return None
        for page in client.get_paginator("list_keys").paginate():
            for key in page["Keys"]:
                try:
                    tags = client.list_resource_tags(KeyId=key["KeyId"])["Tags"]
                except client.exceptions.ClientError:
                    continue  # somebody else's, which we may not look at
                if tags_of(tags).get(TAG) == wanted[TAG] and self.read(aws, key["KeyId"]) is not None:
                    return key["KeyId"]
        return None

    @missing_is_none
    def read(self, aws, physical_id):
        client = aws.client("kms")
        about = client.describe_key(KeyId=physical_id)["KeyMetadata"]
        if about["KeyState"] == "PendingDeletion":
            return None
        policy = client.get_key_policy(KeyId=physical_id, PolicyName="default")["Policy"]
        return {
            "KeyPolicy": document(policy),
            "Description": about.get("Description", ""),
            "Enabled": about["Enabled"],
            "KeySpec": about.get("KeySpec", "SYMMETRIC_DEFAULT"),
            "KeyUsage": about["KeyUsage"],
            "MultiRegion": about.get("MultiRegion", False),
            "EnableKeyRotation": client.get_key_rotation_status(KeyId=physical_id)["KeyRotationEnabled"],
            "Tags": tag_list(client.list_resource_tags(KeyId=physical_id)["Tags"]),
        }

    def create(self, aws, properties):
        client = aws.client("kms")
        # a policy that names a role made a moment ago is refused until the role is known
        made = waiting.retried(
            lambda: client.create_key(
                Policy=text(properties["KeyPolicy"]),
                Description=properties.get("Description", ""),
                KeySpec=properties.get("KeySpec", "SYMMETRIC_DEFAULT"),
                KeyUsage=properties.get("KeyUsage", "ENCRYPT_DECRYPT"),
                MultiRegion=bool(properties.get("MultiRegion", False)),
                Tags=tag_list(properties.get("Tags"), "TagKey", "TagValue"),
            ),
            ("MalformedPolicyDocumentException",),
            saying="principal",
            longest=30,
        )["KeyMetadata"]["KeyId"]
        self._settings(aws, made, {}, properties)
        return made

    def update(self, aws, physical_id, present, wanted):
        client = aws.client("kms")
        if (description := wanted.get("Description", "")) != present.get("Description", ""):
            client.update_key_description(KeyId=physical_id, Description=description)
        policy = text(wanted["KeyPolicy"])
        client.put_key_policy(KeyId=physical_id, PolicyName="default", Policy=policy)
        retag(
            present,
            wanted,
            lambda tags: client.tag_resource(KeyId=physical_id, Tags=tag_list(tags, "TagKey", "TagValue")),
            lambda keys: client.untag_resource(KeyId=physical_id, TagKeys=keys),
        )
        self._settings(aws, physical_id, present, wanted)

    def _settings(self, aws, physical_id, present, wanted):
        client = aws.client("kms")
        have, want = self.complete({"KeyPolicy": {}, **present}), self.complete({"KeyPolicy": {}, **wanted})
        if have["Enabled"] != want["Enabled"]:
            (client.enable_key if want["Enabled"] == "true" else client.disable_key)(KeyId=physical_id)
        if have["EnableKeyRotation"] != want["EnableKeyRotation"]:
            rotates = want["EnableKeyRotation"] == "true"
            (client.enable_key_rotation if rotates else client.disable_key_rotation)(KeyId=physical_id)

    def delete(self, aws, physical_id):
        if self.read(aws, physical_id) is not None:
            aws.client("kms").schedule_key_deletion(KeyId=physical_id, PendingWindowInDays=_LATEST)


class Alias(Kind):
    type = "AWS::KMS::Alias"
    phase = 3
    keeps_data = True  # by it the key is found again
    required = ("AliasName", "TargetKeyId")
    replaced_by = ("AliasName",)

    def complete(self, properties):
        completed = super().complete(properties)
        return {**completed, "TargetKeyId": str(completed.get("TargetKeyId")).rpartition("/")[2]}

    def predicted(self, aws, properties):
        return properties["AliasName"]

    def find(self, aws, properties):
        return properties["AliasName"]

    def read(self, aws, physical_id):
        for page in aws.client("kms").get_paginator("list_aliases").paginate():
            for alias in page["Aliases"]:
                if alias["AliasName"] == physical_id and "TargetKeyId" in alias:
                    return {"AliasName": physical_id, "TargetKeyId": alias["TargetKeyId"]}
        return None

    def create(self, aws, properties):
        aws.client("kms").create_alias(AliasName=properties["AliasName"], TargetKeyId=properties["TargetKeyId"])
        return properties["AliasName"]

    def update(self, aws, physical_id, present, wanted):
        aws.client("kms").update_alias(AliasName=physical_id, TargetKeyId=wanted["TargetKeyId"])

    @missing_is_none
    def delete(self, aws, physical_id):
        aws.client("kms").delete_alias(AliasName=physical_id)

    def owner(self, aws, physical_id, present):
        tags = aws.client("kms").list_resource_tags(KeyId=present["TargetKeyId"])["Tags"]
        return tags_of(tags).get(TAG)


KINDS = (Key, Alias)
