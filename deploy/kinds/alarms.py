"""CloudWatch: alarms and dashboards."""

from __future__ import annotations

from typing import ClassVar

from deploy.kinds.base import Kind, is_gone, missing_is_none, retag, tag_list, text, without_empty

_NUMBERS = {"Period": int, "EvaluationPeriods": int, "DatapointsToAlarm": int, "Threshold": float}


class Alarm(Kind):
    type = "AWS::CloudWatch::Alarm"
    phase = 60
    required = ("AlarmName", "ComparisonOperator", "EvaluationPeriods")
    replaced_by = ("AlarmName",)
    defaults: ClassVar = {
        "ActionsEnabled": True,
        "AlarmActions": [],
        "AlarmDescription": "",
        "DatapointsToAlarm": None,
        "Dimensions": [],
        "EvaluateLowSampleCountPercentile": None,
        "ExtendedStatistic": None,
        "InsufficientDataActions": [],
        "MetricName": None,
        "Namespace": None,
        "OKActions": [],
        "Period": None,
        "Statistic": None,
        "Tags": None,
        "Threshold": None,
        "TreatMissingData": "missing",
        "Unit": None,
    }

    def predicted(self, aws, properties):
        return properties["AlarmName"]

    def attribute(self, aws, physical_id, properties, name):
        if name == "Arn":
            return aws.arn("cloudwatch", f"alarm:{properties['AlarmName']}")
        return super().attribute(aws, physical_id, properties, name)

    def find(self, aws, properties):
        return properties["AlarmName"]

    def read(self, aws, physical_id):
        client = aws.client("cloudwatch")
        found = client.describe_alarms(AlarmNames=[physical_id]).get("MetricAlarms", [])
        if not found:
            return None
        [alarm] = found
        known = {name: alarm[name] for name in (*self.required, *self.defaults) if name in alarm}
        tags = client.list_tags_for_resource(ResourceARN=aws.arn("cloudwatch", f"alarm:{physical_id}"))
        return without_empty({**known, "Tags": tag_list(tags.get("Tags"))}) | (
            {"ActionsEnabled": alarm["ActionsEnabled"]} if "ActionsEnabled" in alarm else {}
        )

    def create(self, aws, properties):
        self._put(aws, {**_settings(properties), "Tags": tag_list(properties.get("Tags"))})
        return properties["AlarmName"]

    def update(self, aws, physical_id, present, wanted):
        client = aws.client("cloudwatch")
        have, want = self.complete(present), self.complete(wanted)
        if {**have, "Tags": None} != {**want, "Tags": None}:
            self._put(aws, _settings(wanted))
        arn = aws.arn("cloudwatch", f"alarm:{physical_id}")
        retag(
            present,
            wanted,
            lambda tags: client.tag_resource(ResourceARN=arn, Tags=tag_list(tags)),
            lambda keys: client.untag_resource(ResourceARN=arn, TagKeys=keys),
        )

    def _put(self, aws, settings: dict) -> None:
        aws.client("cloudwatch").put_metric_alarm(**settings)

    def delete(self, aws, physical_id):
        aws.client("cloudwatch").delete_alarms(AlarmNames=[physical_id])


class Dashboard(Kind):
    type = "AWS::CloudWatch::Dashboard"
    phase = 61
    required = ("DashboardName", "DashboardBody")
    replaced_by = ("DashboardName",)

    def predicted(self, aws, properties):
        return properties["DashboardName"]

    def find(self, aws, properties):
        return properties["DashboardName"]

    def read(self, aws, physical_id):
        client = aws.client("cloudwatch")
        try:
            body = client.get_dashboard(DashboardName=physical_id)["DashboardBody"]
        except client.exceptions.ClientError as error:
            if is_gone(error):
                return None
            raise
        return {"DashboardName": physical_id, "DashboardBody": body}

    def create(self, aws, properties):
        body = text(properties["DashboardBody"])
        aws.client("cloudwatch").put_dashboard(DashboardName=properties["DashboardName"], DashboardBody=body)
        return properties["DashboardName"]

    def update(self, aws, physical_id, present, wanted):
        self.create(aws, wanted)

    @missing_is_none
    def delete(self, aws, physical_id):
        aws.client("cloudwatch").delete_dashboards(DashboardNames=[physical_id])

    def owner(self, aws, physical_id, present):
        """It can bear no tags; the stage's own shows what bears the stage's name."""
        return aws.prefix if f":{physical_id}" in text(present["DashboardBody"]) else None


def _settings(properties: dict) -> dict:
    given = {name: value for name, value in properties.items() if name != "Tags" and value is not None}
    return {name: _NUMBERS[name](value) if name in _NUMBERS else value for name, value in given.items()}


KINDS = (Alarm, Dashboard)
