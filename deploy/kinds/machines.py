"""Step Functions: the state machine."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import ClassVar

from chalicelib.errors import ConfigurationError
from deploy.kinds import waiting
from deploy.kinds.base import Kind, missing_is_none, retag, tag_list, without_empty

_PLACEHOLDER = re.compile(r"\$\{(\w+)\}")

_NO_LOG = {"Level": "OFF", "IncludeExecutionData": False}
_NOT_YET = ("AccessDeniedException", "InvalidLoggingConfiguration", "InvalidTracingConfiguration", "AccessDenied")


class StateMachine(Kind):
    type = "AWS::StepFunctions::StateMachine"
    phase = 40
    required = ("StateMachineName", "RoleArn", "DefinitionString")
    replaced_by = ("StateMachineName", "StateMachineType")
    defaults: ClassVar = {
        "DefinitionSubstitutions": None,
        "LoggingConfiguration": _NO_LOG,
        "StateMachineType": "STANDARD",
        "TracingConfiguration": {"Enabled": False},
        "Tags": None,
    }

    def complete(self, properties):
        completed = super().complete({**properties, "DefinitionString": definition(properties)})
        completed["DefinitionSubstitutions"] = None
        logging = completed["LoggingConfiguration"]
        completed["LoggingConfiguration"] = {"Destinations": [], "IncludeExecutionData": "false", **logging}
        return completed

    def predicted(self, aws, properties):
        return aws.arn("states", f"stateMachine:{properties['StateMachineName']}")

    def attribute(self, aws, physical_id, properties, name):
        if name == "Arn":
            return self.predicted(aws, properties)
        if name == "Name":
            return properties["StateMachineName"]
        return super().attribute(aws, physical_id, properties, name)

    def find(self, aws, properties):
        return self.predicted(aws, properties)

    @missing_is_none
    def read(self, aws, physical_id):
        client = aws.client("stepfunctions")
        about = client.describe_state_machine(stateMachineArn=physical_id)
        if about.get("status") == "DELETING":
            return None
        logging = about.get("loggingConfiguration", {})
        tags = client.list_tags_for_resource(resourceArn=physical_id)["tags"]
        return without_empty(
            {
                "StateMachineName": about["name"],
                "StateMachineType": about["type"],
                "RoleArn": about["roleArn"],
                "DefinitionString": about["definition"],
                "LoggingConfiguration": logging
                and without_empty(
                    {
                        "Level": logging.get("level"),
                        "IncludeExecutionData": logging.get("includeExecutionData"),
                        "Destinations": [
                            {"CloudWatchLogsLogGroup": {"LogGroupArn": d["cloudWatchLogsLogGroup"]["logGroupArn"]}}
                            for d in logging.get("destinations", [])
                        ],
                    }
                ),
                "TracingConfiguration": {"Enabled": about.get("tracingConfiguration", {}).get("enabled", False)},
                "Tags": tag_list(tags),
            }
        )

    def create(self, aws, properties):
        client = aws.client("stepfunctions")
        return _when_the_role_is_known(
            lambda: client.create_state_machine(
                name=properties["StateMachineName"],
                type=properties.get("StateMachineType", "STANDARD"),
                tags=tag_list(properties.get("Tags"), "key", "value"),
                **_settings(properties),
            )
        )["stateMachineArn"]

    def update(self, aws, physical_id, present, wanted):
        client = aws.client("stepfunctions")
        have, want = self.complete(present), self.complete(wanted)
        if {**have, "Tags": None} != {**want, "Tags": None}:
            _when_the_role_is_known(
                lambda: client.update_state_machine(stateMachineArn=physical_id, **_settings(wanted))
            )
        retag(
            present,
            wanted,
            lambda tags: client.tag_resource(resourceArn=physical_id, tags=tag_list(tags, "key", "value")),
            lambda keys: client.untag_resource(resourceArn=physical_id, tagKeys=keys),
        )

    @missing_is_none
    def delete(self, aws, physical_id):
        aws.client("stepfunctions").delete_state_machine(stateMachineArn=physical_id)


def definition(properties: dict) -> str:
    """The definition with its substitutions filled in, as CloudFormation does it; raises ConfigurationError."""
    substitutions = properties.get("DefinitionSubstitutions") or {}
    text = properties.get("DefinitionString", "{}")
    if missing := sorted(set(_PLACEHOLDER.findall(text)) - set(substitutions)) if substitutions else []:
        raise ConfigurationError(f"the state machine's {', '.join(missing)} have no substitution")
    return _PLACEHOLDER.sub(
        lambda found: json.dumps(str(substitutions[found[1]]))[1:-1] if found[1] in substitutions else found[0], text
    )


def _settings(properties: dict) -> dict:
    logging = properties.get("LoggingConfiguration", _NO_LOG)
    return {
        "definition": definition(properties),
        "roleArn": properties["RoleArn"],
        "loggingConfiguration": {
            "level": logging.get("Level", "OFF"),
            "includeExecutionData": _true(logging.get("IncludeExecutionData", False)),
            "destinations": [
                {"cloudWatchLogsLogGroup": {"logGroupArn": d["CloudWatchLogsLogGroup"]["LogGroupArn"]}}
                for d in logging.get("Destinations", [])
            ],
        },
        "tracingConfiguration": {"enabled": _true(properties.get("TracingConfiguration", {}).get("Enabled", False))},
    }


def _true(value) -> bool:
    return value if isinstance(value, bool) else str(value).lower() == "true"


def _when_the_role_is_known(call: Callable[[], dict]) -> dict:
    """A role made a moment ago, or its policy, is not known everywhere: Step Functions then refuses it.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency
    """
    return waiting.retried(call, (*_NOT_YET, "StateMachineDeleting"))


KINDS = (StateMachine,)
