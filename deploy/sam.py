"""SAM's part of CloudFormation, done here: what AWS makes of the packaged template, without AWS.

AWS applies the transform `AWS::Serverless-2016-10-31` itself when a stack is deployed. Checks need to see
what comes of it.
"""

from __future__ import annotations

import copy

import boto3
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

_REGION = "us-east-1"
_LOCAL = "./"
_API = "AWS::Serverless::Api"
_CODE = {"AWS::Serverless::Function": "CodeUri", "AWS::Serverless::LayerVersion": "ContentUri"}


def translate(template: dict, bucket: str = "artefacts") -> dict:
    """The template with its serverless resources as CloudFormation has them.

    Local files stand as objects of `bucket`, as `aws cloudformation package` would put them there.
    Raises samtranslator's InvalidDocumentException for what SAM would refuse.
    """
    template = copy.deepcopy(template)
    for resource in template["Resources"].values():
        name = _CODE.get(resource["Type"])
        if name and str(resource["Properties"][name]).startswith(_LOCAL):
            resource["Properties"][name] = f"s3://{bucket}/{resource['Properties'][name].removeprefix(_LOCAL)}"
    # no managed policies are used; the session only tells the partition
    translator = Translator(managed_policy_map={}, sam_parser=Parser(), boto_session=boto3.Session(region_name=_REGION))
    apis = {name: r["Metadata"] for name, r in template["Resources"].items() if r["Type"] == _API and "Metadata" in r}
    made = translator.translate(template, parameter_values={})
    # SAM keeps what is said of an API with the API; what it is about is the stage
    for name, metadata in apis.items():
        made["Resources"][name].pop("Metadata", None)
        for logical_id, resource in made["Resources"].items():
            if resource["Type"] == "AWS::ApiGateway::Stage" and logical_id.startswith(name):
                resource["Metadata"] = metadata
    return made
