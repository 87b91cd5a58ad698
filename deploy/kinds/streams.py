"""Kinesis data streams."""

from __future__ import annotations

import time
from typing import ClassVar

from deploy.kinds import waiting
from deploy.kinds.base import Kind, missing_is_none, retag, tag_list, tags_of, without_empty

_BUSY = ("ResourceInUseException", "LimitExceededException")
_PAUSE = 2.0
_SHORTEST_HOURS = 24  # of retention, and what a new stream has


class Stream(Kind):
    """An on-demand stream. Each call that changes one makes it busy for a while."""

    type = "AWS::Kinesis::Stream"
    phase = 8
    required = ("Name", "StreamModeDetails")
    replaced_by = ("Name", "StreamModeDetails")
    defaults: ClassVar = {
        "RetentionPeriodHours": _SHORTEST_HOURS,
        "StreamEncryption": None,
        "Tags": None,
    }

    def identity(self):
        return ("Name",)

    def check(self, name, properties):
        mode = properties.get("StreamModeDetails", {}).get("StreamMode")
        wrong = [] if mode == "ON_DEMAND" else [f"{name} ({self.type}): `sluice deploy` makes on-demand streams alone"]
        return super().check(name, properties) + wrong

    def complete(self, properties):
        completed = super().complete(properties)
        if encryption := completed.get("StreamEncryption"):
            # a key or its ARN
            completed["StreamEncryption"] = {**encryption, "KeyId": encryption["KeyId"].rpartition("/")[2]}
        return completed

    def predicted(self, aws, properties):
        return properties["Name"]

    def attribute(self, aws, physical_id, properties, name):
        if name == "Arn":
            return aws.arn("kinesis", f"stream/{properties['Name']}")
        return super().attribute(aws, physical_id, properties, name)

    def find(self, aws, properties):
        return properties["Name"]

    @missing_is_none
    def read(self, aws, physical_id):
        client = aws.client("kinesis")
        about = client.describe_stream_summary(StreamName=physical_id)["StreamDescriptionSummary"]
        if about["StreamStatus"] == "DELETING":
            return None
        encryption = None
        if about.get("EncryptionType") == "KMS":
            encryption = {"EncryptionType": "KMS", "KeyId": about["KeyId"]}
        return without_empty(
            {
                "Name": physical_id,
                "RetentionPeriodHours": about["RetentionPeriodHours"],
                "StreamEncryption": encryption,
                "StreamModeDetails": {
                    "StreamMode": about.get("StreamModeDetails", {}).get("StreamMode", "PROVISIONED")
                },
                "Tags": tag_list(client.list_tags_for_stream(StreamName=physical_id)["Tags"]),
            }
        )

    def create(self, aws, properties):
        client, name = aws.client("kinesis"), properties["Name"]
        waiting.retried(
            lambda: client.create_stream(StreamName=name, StreamModeDetails=properties["StreamModeDetails"]), _BUSY
        )
        # at once: by its tag it is known as ours, also when what follows fails
        waiting.retried(lambda: client.add_tags_to_stream(StreamName=name, Tags=tags_of(properties.get("Tags"))), _BUSY)
        self.update(aws, name, {"Name": name, "Tags": properties.get("Tags")}, properties)
        return name

    def update(self, aws, physical_id, present, wanted):
        client = aws.client("kinesis")
        have, want = self.complete(present), self.complete(wanted)
        hours, before = int(want["RetentionPeriodHours"]), int(have["RetentionPeriodHours"])
        if hours != before:
            change = client.increase_stream_retention_period
            if hours < before:
                change = client.decrease_stream_retention_period
            self._when_active(client, physical_id, lambda: change(StreamName=physical_id, RetentionPeriodHours=hours))
        if have["StreamEncryption"] != want["StreamEncryption"]:
            encryption = wanted.get("StreamEncryption")
            call, given = client.start_stream_encryption, encryption
            if not encryption:
                call, given = client.stop_stream_encryption, present["StreamEncryption"]
            self._when_active(client, physical_id, lambda: call(StreamName=physical_id, **given))
        retag(
            present,
            wanted,
            lambda tags: client.add_tags_to_stream(StreamName=physical_id, Tags=tags),
            lambda keys: client.remove_tags_from_stream(StreamName=physical_id, TagKeys=keys),
        )
        self._when_active(client, physical_id, lambda: None)

    @missing_is_none
    def delete(self, aws, physical_id):
        client = aws.client("kinesis")
        waiting.retried(lambda: client.delete_stream(StreamName=physical_id, EnforceConsumerDeletion=True), _BUSY)

    def _when_active(self, client, name: str, call) -> None:
        """A stream that is being made or changed takes no other change."""
        end = time.monotonic() + waiting.LONGEST
        while True:
            about = client.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
            if about["StreamStatus"] == "ACTIVE" or time.monotonic() > end:
                break
            time.sleep(_PAUSE)
        waiting.retried(call, _BUSY)


KINDS = (Stream,)
