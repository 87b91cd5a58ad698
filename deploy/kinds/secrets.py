"""Secrets Manager: a secret, never what is in it."""

from __future__ import annotations

from typing import ClassVar

from deploy.kinds.base import Kind, missing_is_none, retag, tag_list, without_empty

RECOVERY_DAYS = 30


class Secret(Kind):
    type = "AWS::SecretsManager::Secret"
    phase = 5
    keeps_data = True
    required = ("Name",)
    replaced_by = ("Name",)
    defaults: ClassVar = {"Description": "", "KmsKeyId": "", "Tags": None}

    def complete(self, properties):
        completed = super().complete(properties)
        # AWS says the id where the ARN was given
        return {**completed, "KmsKeyId": str(completed["KmsKeyId"]).rpartition("/")[2]}

    def attribute(self, aws, physical_id, properties, name):
        if name == "Id":
            return physical_id
        return super().attribute(aws, physical_id, properties, name)

    def find(self, aws, properties):
        about = self._describe(aws, properties["Name"])
        return about["ARN"] if about else None

    def read(self, aws, physical_id):
        about = self._describe(aws, physical_id)
        if about is None or about.get("DeletedDate"):
            return None
        return without_empty(
            {
                "Name": about["Name"],
                "Description": about.get("Description"),
                "KmsKeyId": about.get("KmsKeyId"),
                "Tags": tag_list(about.get("Tags")),
            }
        )

    @missing_is_none
    def _describe(self, aws, name: str) -> dict:
        return aws.client("secretsmanager").describe_secret(SecretId=name)

    def create(self, aws, properties):
        client = aws.client("secretsmanager")
        about = self._describe(aws, properties["Name"])
        if about is not None:  # deleted less than RECOVERY_DAYS ago: its name is taken until then
            client.restore_secret(SecretId=about["ARN"])
            # what was restored a moment ago may still read as deleted
            present = self.read(aws, about["ARN"]) or {}
            self.update(aws, about["ARN"], present, properties)
            return about["ARN"]
        given = without_empty({n: properties.get(n) for n in ("Name", "Description", "KmsKeyId")})
        return client.create_secret(**given, Tags=tag_list(properties.get("Tags")))["ARN"]

    def update(self, aws, physical_id, present, wanted):
        client = aws.client("secretsmanager")
        have, want = self.complete(present), self.complete(wanted)
        changed = {name: wanted.get(name, "") for name in ("Description", "KmsKeyId") if have[name] != want[name]}
        if changed:
            client.update_secret(SecretId=physical_id, **changed)
        retag(
            present,
            wanted,
            lambda tags: client.tag_resource(SecretId=physical_id, Tags=tag_list(tags)),
            lambda keys: client.untag_resource(SecretId=physical_id, TagKeys=keys),
        )

    def delete(self, aws, physical_id):
        if self.read(aws, physical_id) is not None:
            aws.client("secretsmanager").delete_secret(SecretId=physical_id, RecoveryWindowInDays=RECOVERY_DAYS)


KINDS = (Secret,)
