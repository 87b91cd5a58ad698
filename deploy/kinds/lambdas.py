"""Lambda: the gate's layer, the functions as Chalice deploys them, and what Chalice reads to do so.

Functions are Chalice's: here they are only read, so that the plan can say what `chalice deploy`
would change. The settings that it takes from `.chalice/config.json` are a resource like any other.
"""

from __future__ import annotations

import base64
from typing import ClassVar

from deploy.kinds import logs
from deploy.kinds.base import TAG, Aws, Kind, missing_is_none, tag_list, tags_of, without_empty
from deploy.stage import read_config, write_config

LAYERS = "deployment/layers"
MANAGED = "managed-layer"  # Chalice's name of the layer that it makes of requirements.txt
CHALICE_TAG = "aws-chalice"  # Chalice's own, e.g. `version=1.34.0:stage=dev:app=sluice`


def layer_key(name: str, sha256_base64: str) -> str:
    """Where a layer's zip is put in the bucket: the same content, the same key."""
    return f"{LAYERS}/{name}-{base64.b64decode(sha256_base64).hex()}.zip"


class LayerVersion(Kind):
    """Its physical id is the ARN of a version, whose content never changes."""

    type = "AWS::Lambda::LayerVersion"
    phase = 20
    required = ("LayerName", "Content", "CompatibleRuntimes", "CompatibleArchitectures")
    replaced_by = required

    def find(self, aws, properties):
        for page in (
            aws.client("lambda").get_paginator("list_layer_versions").paginate(LayerName=properties["LayerName"])
        ):
            for version in sorted(page["LayerVersions"], key=lambda version: -version["Version"]):
                return version["LayerVersionArn"]
        return None

    @missing_is_none
    def read(self, aws, physical_id):
        name, version = physical_id.split(":")[6:8]
        about = aws.client("lambda").get_layer_version(LayerName=name, VersionNumber=int(version))
        return {
            "LayerName": name,
            "Content": {"S3Bucket": aws.bucket, "S3Key": layer_key(name, about["Content"]["CodeSha256"])},
            "CompatibleRuntimes": about.get("CompatibleRuntimes", []),
            "CompatibleArchitectures": about.get("CompatibleArchitectures", []),
        }

    def create(self, aws, properties):
        content = properties["Content"]
        aws.client("s3").upload_file(str(aws.files[content["S3Key"]]), content["S3Bucket"], content["S3Key"])
        return aws.client("lambda").publish_layer_version(**properties)["LayerVersionArn"]

    @missing_is_none
    def delete(self, aws, physical_id):
        """Functions that still have it keep it: https://docs.aws.amazon.com/lambda/latest/dg/API_DeleteLayerVersion.html"""
        name, version = physical_id.split(":")[6:8]
        aws.client("lambda").delete_layer_version(LayerName=name, VersionNumber=int(version))

    def owner(self, aws, physical_id, present):
        return aws.prefix  # it can bear no tags, and its name is ours


class Function(Kind):
    """`chalice deploy` makes, changes and deletes it."""

    type = "AWS::Lambda::Function"
    phase = 31
    required = ("FunctionName", "Runtime", "Handler", "Role", "Code", "MemorySize", "Timeout", "Layers")
    replaced_by = ("FunctionName",)
    defaults: ClassVar = {
        "Architectures": ["x86_64"],
        "Environment": {"Variables": {}},
        "LogRetentionInDays": None,  # its log group's
        "ReservedConcurrentExecutions": None,
        "Tags": None,  # without Chalice's own
        "TracingConfig": {"Mode": "PassThrough"},
        "VpcConfig": {"SubnetIds": [], "SecurityGroupIds": []},
    }
    # Chalice never switches tracing off, nor takes away a retention that it did not set
    if_wanted = ("LogRetentionInDays", "TracingConfig")

    def predicted(self, aws, properties):
        return properties["FunctionName"]

    def attribute(self, aws, physical_id, properties, name):
        if name == "Arn":
            return aws.arn("lambda", f"function:{properties['FunctionName']}")
        return super().attribute(aws, physical_id, properties, name)

    def find(self, aws, properties):
        return properties["FunctionName"]

    @missing_is_none
    def read(self, aws, physical_id):
        client = aws.client("lambda")
        about = client.get_function(FunctionName=physical_id)
        now = about["Configuration"]
        network = now.get("VpcConfig", {})
        concurrency = about.get("Concurrency", {}).get("ReservedConcurrentExecutions")
        log_group = logs.described(aws, f"/aws/lambda/{physical_id}") or {}
        return without_empty(
            {
                "FunctionName": now["FunctionName"],
                "Runtime": now["Runtime"],
                "Handler": now["Handler"],
                "Role": now["Role"],
                "Code": {"Sha256": now["CodeSha256"]},
                "MemorySize": now["MemorySize"],
                "Timeout": now["Timeout"],
                "Layers": [self._content(aws, layer["Arn"]) for layer in now.get("Layers", [])],
                "Architectures": now.get("Architectures", ["x86_64"]),
                "Environment": {"Variables": now.get("Environment", {}).get("Variables", {})},
                "LogRetentionInDays": log_group.get("retentionInDays"),
                "ReservedConcurrentExecutions": concurrency,
                "Tags": tags(about.get("Tags")),
                "TracingConfig": {"Mode": now.get("TracingConfig", {}).get("Mode", "PassThrough")},
                "VpcConfig": {name: network.get(name, []) for name in ("SubnetIds", "SecurityGroupIds")},
            }
        )

    def _content(self, aws: Aws, arn: str) -> str:
        """A layer by its ARN; Chalice's, which gets a new one at each deployment, by its content."""
        name, version = arn.split(":")[6:8]
        return managed_layer(self._sha256(aws, name, int(version))) if name.endswith(f"-{MANAGED}") else arn

    @missing_is_none
    def _sha256(self, aws: Aws, name: str, version: int) -> str:
        about = aws.client("lambda").get_layer_version(LayerName=name, VersionNumber=version)
        return about["Content"]["CodeSha256"]

    def owner(self, aws, physical_id, present):
        """By Chalice's own tag."""
        tags = aws.client("lambda").get_function(FunctionName=physical_id).get("Tags", {})
        parts = tags_of(tags).get(CHALICE_TAG, "").split(":")
        about = dict(part.split("=", 1) for part in parts if "=" in part)
        return f"{about['app']}-{about['stage']}" if {"app", "stage"} <= set(about) else tags.get(TAG)

    @missing_is_none
    def delete(self, aws, physical_id):
        aws.client("lambda").delete_function(FunctionName=physical_id)


def tags(given: dict[str, str] | None) -> list[dict]:
    """A function's tags as they are compared: without that of Chalice, which tells its version."""
    return tag_list({key: value for key, value in (given or {}).items() if key != CHALICE_TAG})


def managed_layer(sha256_base64: str | None) -> str:
    return f"{MANAGED}:{sha256_base64}"


class Configuration(Kind):
    """What a stage's section of `.chalice/config.json` says of roles, layers and environment.

    Its physical id is the file's path in the project: every checkout has its own.
    """

    type = "Sluice::Configuration"
    phase = 30
    required = ("Path", "Environment", "Role", "Roles", "Layers")
    replaced_by = ("Path",)

    def find(self, aws, properties):
        return properties["Path"]

    def predicted(self, aws, properties):
        return properties["Path"]

    def read(self, aws, physical_id):
        if not (path := aws.folder / physical_id).exists():
            return None
        section = read_config(path)["stages"][aws.stage]
        variables, functions = section.get("environment_variables", {}), section.get("lambda_functions", {})
        roles = {name: about["iam_role_arn"] for name, about in functions.items() if "iam_role_arn" in about}
        layers = {name: about["layers"] for name, about in functions.items() if "layers" in about}
        if not roles and not layers:
            return None
        return {
            "Path": physical_id,
            "Environment": {name: variables[name] for name in aws.variables if name in variables},
            "Role": section.get("iam_role_arn"),
            "Roles": roles,
            "Layers": layers,
        }

    def create(self, aws, properties):
        self.update(aws, properties["Path"], {}, properties)
        return properties["Path"]

    def update(self, aws, physical_id, present, wanted):
        path = aws.folder / physical_id
        document = read_config(path)
        section = document["stages"][aws.stage]
        variables = section.setdefault("environment_variables", {})
        for name in set(aws.variables) - set(wanted["Environment"]):
            variables.pop(name, None)
        variables.update(wanted["Environment"])  # what was there keeps its place in the file
        # Chalice wants one for the stage too, although every function has its own
        _set(section, "iam_role_arn", wanted["Role"])
        functions = section.setdefault("lambda_functions", {})
        for name in dict.fromkeys([*functions, *sorted(wanted["Roles"])]):
            own = functions.setdefault(name, {})
            _set(own, "iam_role_arn", wanted["Roles"].get(name))
            _set(own, "layers", wanted["Layers"].get(name))
            if not own:
                del functions[name]
        if not functions:
            del section["lambda_functions"]
        write_config(path, document)

    def delete(self, aws, physical_id):
        if (aws.folder / physical_id).exists():
            # the stage's own name is the stage's: Chalice must go on giving it to functions
            kept = {"SLUICE_STAGE": aws.stage}
            self.update(aws, physical_id, {}, {"Environment": kept, "Role": None, "Roles": {}, "Layers": {}})

    def owner(self, aws, physical_id, present):
        return aws.prefix


def _set(holder: dict, name: str, value) -> None:
    if value is None:
        holder.pop(name, None)
    else:
        holder[name] = value


KINDS = (LayerVersion, Configuration, Function)
