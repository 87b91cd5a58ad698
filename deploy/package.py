"""One folder that `aws cloudformation package` and `deploy` make a stack of: `template.json` and the zips.

`chalice package` makes the functions' part and merges it with ours; what comes out is checked before it is called
done.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chalicelib.errors import ConfigurationError
from deploy import artefacts, chalice_command, project, references, roles
from deploy import stage as stages
from deploy.artefacts import Artefacts
from deploy.kinds import apis
from deploy.references import FUNCTION
from deploy.roles import logical_id
from deploy.stage import CONFIG, Stage
from deploy.template import (
    API_KEYS,
    STAGE_TAG,
    STAGE_TAG_VALUE,
    access_log,
    environment,
    function_arn,
    place_api,
    template,
)
from statemachine import render

TEMPLATE = "template.json"
MANAGED_LAYER = "ManagedLayer"  # Chalice's logical id
ALIAS = "live"

# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
LARGEST_DIRECT = 51_200  # bytes of a template in a call; a larger one goes through S3
LARGEST = 1_000_000
MOST_RESOURCES = 500

# Lambda has SnapStart for Python from 3.12 on (https://docs.aws.amazon.com/lambda/latest/dg/snapstart.html)
_NO_SNAP_START = ("python3.11",)

# Chalice wants a role before it packs; ours take its place
_NO_ROLE = "arn:aws:iam::000000000000:role/none"
# what `sluice deploy` writes for one account: the template has parameters and references instead
_OF_AN_ACCOUNT = ("iam_role_arn", "layers", "subnet_ids", "security_group_ids")

_SKIPPED_CHECKS = [
    {
        "id": "CKV_AWS_115",
        "comment": "MaxConcurrency bounds how many run at a time; a reservation takes from the account's others.",
    },
    {"id": "CKV_AWS_116", "comment": "Called by the state machine alone, which catches errors and keeps dead letters."},
    {"id": "CKV_AWS_173", "comment": "The environment names secrets by their ARNs and holds none; Lambda encrypts it."},
]
_API = {
    "Metadata": {
        "checkov": {
            "skip": [
                {
                    "id": "CKV_AWS_76",
                    "comment": "The parameter AccessLog: it takes a role of the whole account, which no stack may own.",
                },
                {"id": "CKV_AWS_120", "comment": "Nothing that it answers may be kept for others."},
            ]
        }
    },
    "Properties": {
        "Name": {"Fn::Sub": "${App}-${Stage}"},
        # an imported document names the API too, and its metrics go by the name
        "DefinitionBody": {"info": {"title": {"Fn::Sub": "${App}-${Stage}"}}},
        # without it SAM makes a second stage, called Stage
        "OpenApiVersion": "2.0",
        "TracingEnabled": True,
        "AccessLogSetting": {
            "Fn::If": [
                "LogsAccess",
                {"DestinationArn": access_log(), "Format": apis.ACCESS_LOG_FORMAT},
                {"Ref": "AWS::NoValue"},
            ]
        },
        "MethodSettings": [
            {
                "ResourcePath": "/*",
                "HttpMethod": "*",
                "ThrottlingRateLimit": {"Ref": "ApiRate"},
                "ThrottlingBurstLimit": {"Ref": "ApiBurst"},
            }
        ],
        "Tags": {STAGE_TAG: STAGE_TAG_VALUE},
    },
}
_SKIPPED_LOG_CHECKS = [
    {
        "id": "CKV_AWS_158",
        "comment": "CloudWatch Logs encrypts with a key of its own; the log holds references, counts and errors.",
    }
]


@dataclass(frozen=True)
class Package:
    """What was written: `template` is the SAM template, `size` its bytes."""

    folder: Path
    template: dict
    size: int
    artefacts: Artefacts

    @property
    def needs_s3(self) -> bool:
        """Whether the template is too large to be part of a call."""
        return self.size > LARGEST_DIRECT


def package(
    folder: Path,
    stage_name: str,
    output: Path,
    architecture: str | None = None,
    snap_start: bool = False,
    progress: Callable[[str], None] = lambda line: None,
) -> Package:
    """Write the stack of a stage of the project in `folder` into `output`, a folder that is empty or a package's.

    With `snap_start` Validate and QualityGate start from a snapshot. Raises ConfigurationError where
    that cannot be, and where the template would not deploy.
    """
    folder, output = Path(folder).resolve(), Path(output).resolve()
    stage = stages.read(folder, stage_name)
    if snap_start and stage.config.lambda_python_version in _NO_SNAP_START:
        raise ConfigurationError(
            f"Lambda has no SnapStart for {stage.config.lambda_python_version}",
            next_step="set up with Python 3.12 or later (make clean run PYTHON=python3.13), or without --snap-start",
        )
    if output.exists() and any(output.iterdir()) and not (output / TEMPLATE).exists():
        raise ConfigurationError(f"{output} holds other things", next_step="name a folder that is new or empty")
    made = artefacts.build(folder, stage_name, architecture, progress)
    copied = project.copy(folder, folder / artefacts.FOLDER / stage_name / "package")
    made.place(copied)
    (copied / CONFIG).write_text(json.dumps(_config(copied / CONFIG, stage, made.architecture), indent=2))
    merged_with = copied / "merge.json"
    merged_with.write_text(json.dumps(merge_template(stage, folder, made, snap_start)))
    shutil.rmtree(output, ignore_errors=True)
    chalice_command.run(copied, "package", "--stage", stage_name, "--merge-template", str(merged_with), str(output))
    written = output / "sam.json"
    sam = json.loads(written.read_text())
    _refuse(problems(sam))
    for layer in artefacts.ABOVE:
        shutil.copyfile(made.above(layer).path, output / made.above(layer).path.name)
    text = json.dumps(sam, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    (output / TEMPLATE).write_text(text, encoding="utf-8")
    written.unlink()
    return Package(output, sam, len(text.encode()), made)


def merge_template(stage: Stage, folder: Path, made: Artefacts, snap_start: bool = False) -> dict:
    """What `chalice package --merge-template` gets: the template, and what Chalice's functions lack."""
    merged = template(stage, folder)
    functions = render.lambda_functions()
    for name in functions:
        merged["Resources"][logical_id(name)] = _function(name, snap_start and name in artefacts.GATE_FUNCTIONS)
        merged["Resources"][_log_group(name)] = {
            "DeletionPolicy": "Delete",
            "UpdateReplacePolicy": "Delete",
            "Metadata": {"checkov": {"skip": _SKIPPED_LOG_CHECKS}},
            "Properties": {"Tags": [{"Key": STAGE_TAG, "Value": STAGE_TAG_VALUE}]},
        }
    # Chalice's own refers to a function of another name
    name = {"Fn::Sub": f"/aws/lambda/{render.full_name('${App}-${Stage}', render.API_HANDLER)}"}
    merged["Resources"][_log_group(render.API_HANDLER)]["Properties"]["LogGroupName"] = name
    merged["Resources"]["RestAPI"] = _API
    place_api(merged, {"Ref": "RestAPI.Stage"})
    # with the package that replaced it an old layer is of no use
    merged["Resources"][MANAGED_LAYER] = {"Properties": {"RetentionPolicy": "Delete"}}
    for layer in artefacts.ABOVE:
        merged["Resources"][artefacts.layer_id(layer)] = {
            "Type": "AWS::Serverless::LayerVersion",
            "Properties": {
                "LayerName": f"{stage.prefix}-{layer}",
                "ContentUri": f"./{made.above(layer).path.name}",
                "CompatibleRuntimes": [made.python],
                "CompatibleArchitectures": [made.architecture],
                "RetentionPolicy": "Delete",
            },
        }
    if snap_start:
        for user in ("StateMachine", "StateMachineRole"):
            merged["Resources"][user] = _through_aliases(merged["Resources"][user])
    return merged


def _log_group(function: str) -> str:
    """Chalice's logical id."""
    return render.placeholder(function).removesuffix("Arn") + "LogGroup"


def problems(sam: dict) -> list[str]:
    """Why the merged template would not deploy, or not as it should; a line each."""
    found = references.problems(sam)
    resources = sam["Resources"]
    functions = {name: r["Properties"] for name, r in resources.items() if r.get("Type") == FUNCTION}
    expected = {logical_id(function): function for function in render.lambda_functions()}
    for name, properties in functions.items():
        function = expected.get(name)
        role = {"Fn::GetAtt": [roles.role_id(function), "Arn"]} if function else None
        if properties.get("Role") != role:
            found.append(f"Resources.{name} has the role {properties.get('Role')}, which is not from {roles.FOLDER}")
    for name in sorted(set(expected) - set(functions)):
        found.append(f"Resources.{name} is missing: Chalice made no function of that name")
    size = len(json.dumps(sam))
    if size > LARGEST:
        found.append(f"the template has {size:,} bytes, CloudFormation takes {LARGEST:,}")
    if len(resources) > MOST_RESOURCES:
        found.append(f"the template has {len(resources)} resources, CloudFormation takes {MOST_RESOURCES}")
    return found


def _refuse(found: list[str]) -> None:
    if found:
        raise ConfigurationError(
            "the template cannot be deployed:\n  - " + "\n  - ".join(found) + "\n",
            next_step="see statemachine/resources.json and deploy/package.py",
        )


def _function(name: str, snap_start: bool) -> dict:
    """What a function of Chalice's needs beside what Chalice gives it."""
    layers = [MANAGED_LAYER, *map(artefacts.layer_id, artefacts.above(name))]
    groups = {
        "Fn::If": [
            "MakesDatabase",
            [{"Fn::GetAtt": ["FunctionsSecurityGroup", "GroupId"]}],
            {
                "Fn::If": [
                    "HasSecurityGroups",
                    {"Fn::Split": [",", {"Ref": "SecurityGroupIds"}]},
                    {"Ref": "AWS::NoValue"},
                ]
            },
        ]
    }
    subnets = {"Fn::Split": [",", {"Ref": "SubnetIds"}]}
    properties = {
        # Chalice's own name in `chalice deploy`, by which logs and metrics are found
        "FunctionName": {"Fn::Sub": render.full_name("${App}-${Stage}", name)},
        "Role": {"Fn::GetAtt": [roles.role_id(name), "Arn"]},
        "Layers": [{"Ref": layer} for layer in layers],
        "Environment": {"Variables": environment()},
        "VpcConfig": {"Fn::If": ["InVpc", {"SecurityGroupIds": groups, "SubnetIds": subnets}, {"Ref": "AWS::NoValue"}]},
        "Tags": {STAGE_TAG: STAGE_TAG_VALUE},
    }
    if snap_start:
        properties |= {
            "SnapStart": {"ApplyOn": "PublishedVersions"},
            "AutoPublishAlias": ALIAS,
            # a change of memory or environment alone publishes a version too
            "AutoPublishAliasAllProperties": True,
        }
    return {"Metadata": {"checkov": {"skip": _SKIPPED_CHECKS}}, "Properties": properties}


def _through_aliases(value):
    """`value` with the snapshots' functions called by their alias: the code without a version has no snapshot."""
    if isinstance(value, list):
        return [_through_aliases(item) for item in value]
    if not isinstance(value, dict):
        return value
    for name in artefacts.GATE_FUNCTIONS:
        if value == function_arn(name):
            return {"Ref": f"{logical_id(name)}.Alias"}
    return {key: _through_aliases(item) for key, item in value.items()}


def _config(path: Path, stage: Stage, architecture: str) -> dict:
    """`.chalice/config.json` without what belongs to an account."""
    document = json.loads(path.read_text(encoding="utf-8"))
    own = document["stages"][stage.name]
    places = [document, own]
    places += [function for place in (document, own) for function in place.get("lambda_functions", {}).values()]
    for place in places:
        for name in _OF_AN_ACCOUNT:
            place.pop(name, None)
        for variable in environment():
            place.get("environment_variables", {}).pop(variable, None)
    document |= {"manage_iam_role": False, "iam_role_arn": _NO_ROLE}
    own["lambda_architecture"] = architecture
    # by which the routes ask for an API key
    own.setdefault("environment_variables", {})[API_KEYS] = "on" if stage.deployment.api_quota else "off"
    return document
