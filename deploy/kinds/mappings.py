"""Lambda's event source mappings: which queue or stream invokes which function, and how."""

from __future__ import annotations

from typing import ClassVar

from deploy.kinds import waiting
from deploy.kinds.base import Kind, missing_is_none, without_empty

# what a role made a moment ago meets, and a mapping that is being made, changed or deleted
_ROLE = "role"
_NOT_YET = ("InvalidParameterValueException",)
_BUSY = ("ResourceInUseException", "ResourceConflictException")
_STOPPED = ("Disabled", "Disabling")


class EventSourceMapping(Kind):
    """Its physical id is its UUID; function and source find it. It goes with them, and needs no tag of its own."""

    type = "AWS::Lambda::EventSourceMapping"
    phase = 45
    required = ("FunctionName", "EventSourceArn")
    replaced_by = ("EventSourceArn", "StartingPosition")
    # those of queues and of streams: https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html
    defaults: ClassVar = {
        "BatchSize": None,
        "BisectBatchOnFunctionError": False,
        "DestinationConfig": None,
        "Enabled": True,
        "FilterCriteria": None,
        "FunctionResponseTypes": None,
        "MaximumBatchingWindowInSeconds": 0,
        "MaximumRecordAgeInSeconds": -1,
        "MaximumRetryAttempts": -1,
        "ParallelizationFactor": 1,
        "ScalingConfig": None,
        "StartingPosition": None,
        "TumblingWindowInSeconds": 0,
    }

    def identity(self):
        return ("FunctionName", "EventSourceArn")

    def complete(self, properties):
        queue = ":sqs:" in str(properties.get("EventSourceArn"))
        given = {"BatchSize": 10 if queue else 100, **properties}
        if queue:
            given["StartingPosition"] = None  # it has none
        completed = super().complete(given)
        completed["FunctionName"] = str(completed["FunctionName"]).rpartition(":")[2]  # a name or its ARN
        for name in ("DestinationConfig", "FilterCriteria", "FunctionResponseTypes", "ScalingConfig"):
            completed[name] = completed[name] or None
        return completed

    def find(self, aws, properties):
        pages = (
            aws.client("lambda")
            .get_paginator("list_event_source_mappings")
            .paginate(EventSourceArn=properties["EventSourceArn"])
        )
        function = properties["FunctionName"].rpartition(":")[2]
        for page in pages:
            for found in page["EventSourceMappings"]:
                if found["FunctionArn"].rpartition(":")[2] == function and found["State"] != "Deleting":
                    return found["UUID"]
        return None

    @missing_is_none
    def read(self, aws, physical_id):
        about = aws.client("lambda").get_event_source_mapping(UUID=physical_id)
        if about.get("State") == "Deleting":
            return None
        known = {name: about.get(name) for name in self.defaults if name != "Enabled"}
        return {
            **without_empty(known),
            "FunctionName": about["FunctionArn"].rpartition(":")[2],
            "EventSourceArn": about["EventSourceArn"],
            "Enabled": about.get("State") not in _STOPPED,
        }

    def create(self, aws, properties):
        client = aws.client("lambda")

        def make() -> dict:
            return waiting.retried(lambda: client.create_event_source_mapping(**properties), _BUSY)

        return waiting.retried(make, _NOT_YET, saying=_ROLE)["UUID"]

    def update(self, aws, physical_id, present, wanted):
        have, want = self.complete(present), self.complete(wanted)
        cleared = {"DestinationConfig": {}, "FilterCriteria": {}, "FunctionResponseTypes": [], "ScalingConfig": {}}
        fixed = {"EventSourceArn", "StartingPosition"}
        changed = {
            name: wanted.get(name, cleared.get(name, self.defaults.get(name)))
            for name in {*self.required, *self.defaults} - fixed
            if have[name] != want[name]
        }
        if "BatchSize" in changed and changed["BatchSize"] is None:
            changed["BatchSize"] = int(want["BatchSize"])
        client = aws.client("lambda")
        waiting.retried(lambda: client.update_event_source_mapping(UUID=physical_id, **changed), _BUSY)

    @missing_is_none
    def delete(self, aws, physical_id):
        client = aws.client("lambda")
        waiting.retried(lambda: client.delete_event_source_mapping(UUID=physical_id), _BUSY)

    def owner(self, aws, physical_id, present):
        return aws.prefix


KINDS = (EventSourceMapping,)
