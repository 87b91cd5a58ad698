"""The functions: what Chalice will be told, what it is then to make of them, and its own commands as subprocesses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from chalice.constants import DEFAULT_LAMBDA_MEMORY_SIZE, DEFAULT_LAMBDA_TIMEOUT

from deploy import chalice_command, project, roles, template
from deploy.artefacts import ABOVE, Artefacts, above, layer_id
from deploy.kinds import Aws, apis, lambdas
from deploy.kinds.logs import LogGroup
from deploy.stage import CONFIG, Stage
from statemachine import render

CONFIGURATION = "Configuration"
API, LOG = "RestAPI", "ApiHandlerLogGroup"


def add(made: dict, stage: Stage, built: Artefacts) -> dict:
    """The template with what CloudFormation would get from Chalice: layers, configuration and functions."""
    functions = render.lambda_functions()
    resources = {
        **{layer_id(layer): _layer(stage, built, layer) for layer in ABOVE},
        CONFIGURATION: {
            "Type": lambdas.Configuration.type,
            "Properties": {
                "Path": CONFIG.as_posix(),
                "Environment": template.environment(),
                "Role": {"Fn::GetAtt": [roles.role_id(functions[0]), "Arn"]},
                "Roles": {name: {"Fn::GetAtt": [roles.role_id(name), "Arn"]} for name in functions},
                "Layers": {name: refs for name in functions if (refs := _above(name))},
            },
        },
        **{roles.logical_id(name): _function(stage, built, name) for name in functions},
        **api(stage),
    }
    template.place_api(made, stage.api_stage)
    return {**made, "Resources": {**made["Resources"], **resources}}


def api(stage: Stage) -> dict:
    """What Chalice makes of the routes, and the log of the function behind them.

    The log group that Chalice makes for that one has another name than the function: nobody writes to it.
    """
    handler, logs = stage.function(render.API_HANDLER), stage.deployment.access_log
    name = stage.function_name(render.API_HANDLER)
    log: dict = {
        "LogGroupName": f"/aws/lambda/{name}",
        "Tags": [{"Key": template.STAGE_TAG, "Value": template.STAGE_TAG_VALUE}],
    }
    if handler.log_retention_in_days:
        log["RetentionInDays"] = handler.log_retention_in_days
    return {
        LOG: {"Type": LogGroup.type, "Properties": log},
        API: {
            "Type": apis.RestApi.type,
            "DependsOn": [roles.logical_id(function) for function in render.API_FUNCTIONS],
            "Properties": {
                "FunctionName": name,
                "StageName": stage.api_stage,
                "Name": stage.prefix,
                "RateLimit": {"Ref": "ApiRate"},
                "BurstLimit": {"Ref": "ApiBurst"},
                **({"AccessLog": template.access_log()} if logs else {}),
            },
        },
    }


def layer_files(stage: Stage, built: Artefacts) -> dict[str, Path]:
    """The layers' zips by the keys under which they are put into the bucket."""
    return {_layer_key(stage, built, layer): built.above(layer).path for layer in ABOVE}


def _layer_key(stage: Stage, built: Artefacts, layer: str) -> str:
    return lambdas.layer_key(f"{stage.prefix}-{layer}", built.above(layer).sha256_base64)


def _layer(stage: Stage, built: Artefacts, layer: str) -> dict:
    return {
        "Type": lambdas.LayerVersion.type,
        "Properties": {
            "LayerName": f"{stage.prefix}-{layer}",
            "Content": {"S3Bucket": {"Ref": "Bucket"}, "S3Key": _layer_key(stage, built, layer)},
            "CompatibleRuntimes": [built.python],
            "CompatibleArchitectures": [built.architecture],
        },
    }


def _above(function: str) -> list[dict]:
    return [{"Ref": layer_id(layer)} for layer in above(function)]


def _function(stage: Stage, built: Artefacts, name: str) -> dict:
    config = stage.function(name)
    own = {key: str(value) for key, value in config.environment_variables.items() if key not in template.environment()}
    layers = [lambdas.managed_layer(built.dependencies.sha256_base64)]
    properties = {
        "FunctionName": stage.function_name(name),
        "Runtime": built.python,
        "Handler": render.handler(name),
        "Role": {"Fn::GetAtt": [roles.role_id(name), "Arn"]},
        "Code": {"Sha256": built.code.sha256_base64},
        "MemorySize": config.lambda_memory_size or DEFAULT_LAMBDA_MEMORY_SIZE,
        "Timeout": config.lambda_timeout or DEFAULT_LAMBDA_TIMEOUT,
        "Layers": [*layers, *_above(name)],
        "Architectures": [built.architecture],
        "Environment": {"Variables": {**own, **template.environment()}},
        "Tags": lambdas.tags(config.tags),
        "VpcConfig": {"SubnetIds": config.subnet_ids or [], "SecurityGroupIds": config.security_group_ids or []},
    }
    if config.log_retention_in_days:
        properties["LogRetentionInDays"] = config.log_retention_in_days
    if config.xray_enabled:
        properties["TracingConfig"] = {"Mode": "Active"}
    if config.reserved_concurrency is not None:
        properties["ReservedConcurrentExecutions"] = config.reserved_concurrency
    return {"Type": lambdas.Function.type, "DependsOn": CONFIGURATION, "Properties": properties}


def deploy(stage: Stage, built: Artefacts, known: dict | None, say: Callable[[str], None]) -> dict:
    """`chalice deploy` in the clean copy with the packages that were built; returns what Chalice wrote down.

    `known` is what it wrote down last time, on whichever machine that was.
    """
    return _chalice(stage, built, known, "deploy", say)


def delete(stage: Stage, folder: Path, known: dict, say: Callable[[str], None]) -> None:
    """`chalice delete` of what Chalice wrote down."""
    project.copy(stage.folder, folder)
    _write_down(folder, stage, known)
    chalice_command.run(folder, "delete", "--stage", stage.name, say=say)
    deployed_path(stage.folder, stage.name).unlink(missing_ok=True)


def deployed_path(folder: Path, stage: str) -> Path:
    """Where Chalice notes what it deployed."""
    return folder / ".chalice" / "deployed" / f"{stage}.json"


def _chalice(stage: Stage, built: Artefacts, known: dict | None, command: str, say: Callable[[str], None]) -> dict:
    folder = project.copy(stage.folder, built.project)
    if known is not None:
        _write_down(folder, stage, known)
    built.place(folder)
    chalice_command.run(folder, command, "--stage", stage.name, say=say)
    written = json.loads(deployed_path(folder, stage.name).read_text(encoding="utf-8"))
    _write_down(stage.folder, stage, written)
    return written


def superfluous_layers(aws: Aws, stage: Stage, written: dict) -> list[str]:
    """Versions of Chalice's layer that are not in use: it forgets the one it had published when it breaks off."""
    used = {about.get("layer_version_arn") for about in written["resources"]}
    pages = (
        aws.client("lambda")
        .get_paginator("list_layer_versions")
        .paginate(LayerName=f"{stage.prefix}-{lambdas.MANAGED}")
    )
    return [v["LayerVersionArn"] for page in pages for v in page["LayerVersions"] if v["LayerVersionArn"] not in used]


def api_url(aws: Aws, written: dict, stage: Stage) -> str | None:
    """Where requests to the deployed API are sent, without a slash at the end; None where there is none.

    That is its own domain, where the stage has one. The local stack takes them below its own address.
    """
    found = next((about for about in written["resources"] if about["resource_type"] == "rest_api"), None)
    if found is None:
        return None
    endpoint = aws.client("apigateway").meta.endpoint_url
    if ".amazonaws.com" in endpoint:
        if domain := stage.deployment.api_domain:
            return f"https://{domain}"
        return found["rest_api_url"].rstrip("/")
    stage = found["rest_api_url"].rstrip("/").rpartition("/")[2]
    return f"{endpoint}/restapis/{found['rest_api_id']}/{stage}/_user_request_"


def _write_down(folder: Path, stage: Stage, known: dict) -> None:
    path = deployed_path(folder, stage.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
