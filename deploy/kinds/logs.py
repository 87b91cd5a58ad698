"""CloudWatch Logs: log groups."""

from __future__ import annotations

from typing import ClassVar

from deploy.kinds import waiting
from deploy.kinds.base import Aws, Kind, missing_is_none, retag, tag_list, tags_of, without_empty

_BUSY = ("OperationAbortedException",)


class LogGroup(Kind):
    type = "AWS::Logs::LogGroup"
    phase = 9
    required = ("LogGroupName",)
    replaced_by = ("LogGroupName",)
    defaults: ClassVar = {"RetentionInDays": 0, "Tags": None}

    def predicted(self, aws, properties):
        return properties["LogGroupName"]

    def attribute(self, aws, physical_id, properties, name):
        if name == "Arn":
            return aws.arn("logs", f"log-group:{properties['LogGroupName']}:*")
        return super().attribute(aws, physical_id, properties, name)

    def find(self, aws, properties):
        return properties["LogGroupName"]

    @missing_is_none
    def read(self, aws, physical_id):
        group = described(aws, physical_id)
        if group is None:
            return None
        arn = aws.arn("logs", f"log-group:{physical_id}")
        tags = aws.client("logs").list_tags_for_resource(resourceArn=arn)
        return without_empty(
            {
                "LogGroupName": physical_id,
                "RetentionInDays": group.get("retentionInDays"),
                "Tags": tag_list(tags.get("tags")),
            }
        )

    def create(self, aws, properties):
        client, name = aws.client("logs"), properties["LogGroupName"]
        given = without_empty({"tags": tags_of(properties.get("Tags"))})
        waiting.retried(lambda: client.create_log_group(logGroupName=name, **given), _BUSY)
        if days := int(properties.get("RetentionInDays", 0)):
            client.put_retention_policy(logGroupName=name, retentionInDays=days)
        return name

    def update(self, aws, physical_id, present, wanted):
        client = aws.client("logs")
        have, want = self.complete(present), self.complete(wanted)
        if have["RetentionInDays"] != want["RetentionInDays"]:
            if days := int(want["RetentionInDays"]):
                client.put_retention_policy(logGroupName=physical_id, retentionInDays=days)
            else:
                client.delete_retention_policy(logGroupName=physical_id)
        arn = aws.arn("logs", f"log-group:{physical_id}")
        retag(
            present,
            wanted,
            lambda tags: client.tag_resource(resourceArn=arn, tags=tags),
            lambda keys: client.untag_resource(resourceArn=arn, tagKeys=keys),
        )

    @missing_is_none
    def delete(self, aws, physical_id):
        aws.client("logs").delete_log_group(logGroupName=physical_id)


def described(aws: Aws, name: str) -> dict | None:
    """What DescribeLogGroups says of the group of this very name; None where there is none."""
    pages = aws.client("logs").get_paginator("describe_log_groups").paginate(logGroupNamePrefix=name)
    return next((group for page in pages for group in page["logGroups"] if group["logGroupName"] == name), None)


KINDS = (LogGroup,)
