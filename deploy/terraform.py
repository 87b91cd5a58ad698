"""What Terraform cannot read from the repository by itself: alarms, schedules and the dashboard, for infra/terraform.

They are taken from the CloudFormation template as they stand there. What only Terraform knows is
left open as `${Name}`, as in `statemachine/policies/`, and filled in by its `templatefile`.
"""

from __future__ import annotations

import json
from pathlib import Path

from chalicelib.errors import ConfigurationError
from deploy import artefacts, chalice_command, roles, template
from deploy import stage as stages
from deploy.intrinsics import Evaluator
from deploy.kinds import apis
from deploy.stage import Stage
from statemachine import render

FILE = "terraform.json"

_KINDS = {"AWS::CloudWatch::Alarm": "alarms", "AWS::Scheduler::Schedule": "schedules"}

_PSEUDO = {"AWS::AccountId": "${Account}", "AWS::Partition": "${Partition}", "AWS::Region": "${Region}"}
_PARAMETERS = {"App": "${App}", "Stage": "${Stage}", "MaximumAgeHours": "${MaximumAgeHours}"}

# (logical id, attribute or None for Ref) -> the name under which infra/terraform/locals.tf knows it
_NAMES = {
    ("AlertsTopic", None): "AlertsTopicArn",
    ("Database", None): "DatabaseName",
    ("DeadLetters", "Arn"): "DeadLetterArn",
    ("DeadLetters", "QueueName"): "DeadLetterName",
    ("ScheduleGroup", None): "Prefix",
    ("SchedulerRole", "Arn"): "SchedulerRoleArn",
    ("StateMachine", None): "StateMachineArn",
    ("Triggers", "Arn"): "TriggersArn",
    ("SimulateSensors", "Arn"): "SimulateSensorsArn",
    ("Undelivered", "Arn"): "UndeliveredArn",
    ("Undelivered", "QueueName"): "UndeliveredName",
}


def export(stage: Stage, project: Path) -> dict:
    """`alarms` and `schedules` by logical id, `dashboard` as text, `api` in Swagger, `layers`: the functions of each.

    An alarm is its properties in CloudFormation's words, and `Condition` where it has one.
    """
    made = template.template(stage, project)
    evaluator = Evaluator(made, _PARAMETERS, _PSEUDO, _attribute)
    found: dict = {"alarms": {}, "schedules": {}, "layers": {name: list(f) for name, f in artefacts.ABOVE.items()}}
    for name, resource in made["Resources"].items():
        if kind := _KINDS.get(resource["Type"]):
            condition = {"Condition": resource["Condition"]} if "Condition" in resource else {}
            found[kind][name] = evaluator.value(resource["Properties"]) | condition
    found["api"] = evaluator.value(chalice_command.swagger(project, bool(stage.deployment.api_quota)))
    found["api_log_format"] = apis.ACCESS_LOG_FORMAT
    found["dashboard"] = evaluator.value(made["Resources"]["Dashboard"]["Properties"]["DashboardBody"])
    return found


def write(folder: Path, stage_name: str, path: Path) -> None:
    """Write what `export` gives for a stage of the project in `folder`."""
    path.write_text(text(export(stages.read(folder, stage_name), folder)), encoding="utf-8")


def text(exported: dict) -> str:
    """What `export` gave as the text of a template of Terraform's, in which `%{` would begin a directive."""
    written = json.dumps(exported, indent=2, sort_keys=True).replace("%{", "%%{")
    return written.replace("${App}-${Stage}", "${Prefix}") + "\n"


def _attribute(logical_id: str, name: str | None) -> str:
    functions = {roles.logical_id(function): function for function in render.API_FUNCTIONS}
    if logical_id in functions and name == "Arn":
        return "arn:${Partition}:lambda:${Region}:${Account}:function:" + render.full_name(
            "${Prefix}", functions[logical_id]
        )
    try:
        return "${" + _NAMES[logical_id, name] + "}"
    except KeyError:
        what = f"{logical_id}.{name}" if name else logical_id
        raise ConfigurationError(
            f"infra/terraform has no name for {what}", next_step="give it one in locals.tf and in deploy/terraform.py"
        ) from None
