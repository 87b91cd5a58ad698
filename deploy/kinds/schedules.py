"""EventBridge Scheduler: groups and schedules."""

from __future__ import annotations

from typing import ClassVar

from deploy.kinds import waiting
from deploy.kinds.base import Kind, missing_is_none, retag, tag_list, without_empty

_SERVICE = "scheduler"
# what a role made a moment ago meets
_NOT_YET = ("ValidationException",)
_ROLE = "role"
_DELETING = ("ConflictException",)
_OPTIONAL = ("Description", "EndDate", "KmsKeyArn", "ScheduleExpressionTimezone", "StartDate", "State")


class ScheduleGroup(Kind):
    type = "AWS::Scheduler::ScheduleGroup"
    phase = 70
    required = ("Name",)
    replaced_by = ("Name",)
    defaults: ClassVar = {"Tags": None}

    def predicted(self, aws, properties):
        return properties["Name"]

    def attribute(self, aws, physical_id, properties, name):
        if name == "Arn":
            return aws.arn(_SERVICE, f"schedule-group/{properties['Name']}")
        return super().attribute(aws, physical_id, properties, name)

    def find(self, aws, properties):
        return properties["Name"]

    @missing_is_none
    def read(self, aws, physical_id):
        client = aws.client(_SERVICE)
        about = client.get_schedule_group(Name=physical_id)
        if about.get("State") == "DELETING":
            return None
        tags = client.list_tags_for_resource(ResourceArn=about["Arn"]).get("Tags")
        return {"Name": physical_id, "Tags": tag_list(tags)}

    def create(self, aws, properties):
        client, tags = aws.client(_SERVICE), tag_list(properties.get("Tags"))
        # one of the same name may still be going: deleting a group takes minutes
        waiting.retried(lambda: client.create_schedule_group(Name=properties["Name"], Tags=tags), _DELETING)
        return properties["Name"]

    def update(self, aws, physical_id, present, wanted):
        client = aws.client(_SERVICE)
        arn = aws.arn(_SERVICE, f"schedule-group/{physical_id}")
        retag(
            present,
            wanted,
            lambda tags: client.tag_resource(ResourceArn=arn, Tags=tag_list(tags)),
            lambda keys: client.untag_resource(ResourceArn=arn, TagKeys=keys),
        )

    @missing_is_none
    def delete(self, aws, physical_id):
        aws.client(_SERVICE).delete_schedule_group(Name=physical_id)


class Schedule(Kind):
    """Its physical id is ours: group and name."""

    type = "AWS::Scheduler::Schedule"
    phase = 71
    required = ("Name", "ScheduleExpression", "FlexibleTimeWindow", "Target")
    replaced_by = ("Name", "GroupName")
    defaults: ClassVar = {
        "Description": "",
        "EndDate": None,
        "GroupName": "default",
        "KmsKeyArn": "",
        "ScheduleExpressionTimezone": "UTC",
        "StartDate": None,
        "State": "ENABLED",
    }

    def complete(self, properties):
        completed = super().complete(properties)
        # what AWS adds where nothing is said
        policy = {"MaximumEventAgeInSeconds": "86400", "MaximumRetryAttempts": "185"}
        target = completed["Target"]
        completed["Target"] = {**target, "RetryPolicy": {**policy, **target.get("RetryPolicy", {})}}
        return completed

    def predicted(self, aws, properties):
        return f"{properties.get('GroupName', 'default')}/{properties['Name']}"

    def attribute(self, aws, physical_id, properties, name):
        if name == "Arn":
            return aws.arn(_SERVICE, f"schedule/{self.predicted(aws, properties)}")
        if name is None:
            return properties["Name"]
        return super().attribute(aws, physical_id, properties, name)

    def find(self, aws, properties):
        return self.predicted(aws, properties)

    @missing_is_none
    def read(self, aws, physical_id):
        group, name = physical_id.split("/")
        about = aws.client(_SERVICE).get_schedule(GroupName=group, Name=name)
        return without_empty({known: about.get(known) for known in (*self.required, *self.defaults)})

    def create(self, aws, properties):
        client = aws.client(_SERVICE)
        waiting.retried(lambda: client.create_schedule(**_settings(properties)), _NOT_YET, saying=_ROLE)
        return self.predicted(aws, properties)

    def update(self, aws, physical_id, present, wanted):
        client = aws.client(_SERVICE)
        waiting.retried(lambda: client.update_schedule(**_settings(wanted)), _NOT_YET, saying=_ROLE)

    @missing_is_none
    def delete(self, aws, physical_id):
        group, name = physical_id.split("/")
        aws.client(_SERVICE).delete_schedule(GroupName=group, Name=name)

    def owner(self, aws, physical_id, present):
        return aws.prefix  # its group bears the tag


def _settings(properties: dict) -> dict:
    """An update replaces all of a schedule, so it says all of it."""
    target = dict(properties["Target"])
    if policy := target.get("RetryPolicy"):
        target["RetryPolicy"] = {name: int(value) for name, value in policy.items()}
    given = {name: properties[name] for name in (*_OPTIONAL, "GroupName") if properties.get(name)}
    return {
        "Name": properties["Name"],
        "ScheduleExpression": properties["ScheduleExpression"],
        "FlexibleTimeWindow": properties["FlexibleTimeWindow"],
        "Target": target,
        **given,
    }


KINDS = (ScheduleGroup, Schedule)
