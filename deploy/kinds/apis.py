"""API Gateway: the REST API that Chalice makes of the routes, and what Chalice does not set on its stage.

The API has no name of its own on AWS: Chalice calls that of every stage after the app. It is found by its
permission to invoke the stage's function.
"""

from __future__ import annotations

import json
import re
from typing import ClassVar

from chalicelib.errors import DeploymentError
from deploy.kinds.base import Aws, Kind, missing_is_none

RATE_LIMIT = 50  # requests a second, of all callers together
BURST_LIMIT = 100

_SOURCE = re.compile(r":execute-api:[^:]*:[^:]*:([a-z0-9]+)/")
_ALL_METHODS = "*/*"


class RestApi(Kind):
    """Its physical id is the API's. `chalice deploy` makes the API, `chalice delete` deletes it."""

    type = "Sluice::RestApi"
    phase = 30  # deleted after the functions, of which Chalice deletes it with
    required = ("FunctionName", "StageName", "RateLimit", "BurstLimit")
    replaced_by = ("FunctionName", "StageName")
    defaults: ClassVar = {}

    def find(self, aws, properties):
        policy = _policy(aws, properties["FunctionName"])
        found = sorted(set(_SOURCE.findall(json.dumps(policy))))
        return next((each for each in found if _api(aws, each) is not None), None)

    def read(self, aws, physical_id):
        if _api(aws, physical_id) is None:
            return None
        stages = aws.client("apigateway").get_stages(restApiId=physical_id)["item"]
        if not stages:
            return None
        settings = stages[0].get("methodSettings", {}).get(_ALL_METHODS, {})
        return {
            "FunctionName": aws.prefix,  # Chalice's name for the function behind all routes
            "StageName": stages[0]["stageName"],
            "RateLimit": settings.get("throttlingRateLimit"),
            "BurstLimit": settings.get("throttlingBurstLimit"),
        }

    def create(self, aws, properties):
        made = self.find(aws, properties)
        if made is None:
            raise DeploymentError(
                f"Chalice made no REST API for {properties['FunctionName']}", next_step="look at what it said above"
            )
        self.update(aws, made, {}, properties)
        return made

    def update(self, aws, physical_id, present, wanted):
        limits = {"rateLimit": wanted["RateLimit"], "burstLimit": wanted["BurstLimit"]}
        aws.client("apigateway").update_stage(
            restApiId=physical_id,
            stageName=wanted["StageName"],
            patchOperations=[
                {"op": "replace", "path": f"/{_ALL_METHODS}/throttling/{name}", "value": str(value)}
                for name, value in limits.items()
            ],
        )

    @missing_is_none
    def delete(self, aws, physical_id):
        if _api(aws, physical_id) is not None:  # as a rule `chalice delete` was here before
            aws.client("apigateway").delete_rest_api(restApiId=physical_id)

    def owner(self, aws, physical_id, present):
        return aws.prefix  # it may invoke the stage's function


@missing_is_none
def _policy(aws: Aws, function: str) -> dict | None:
    return json.loads(aws.client("lambda").get_policy(FunctionName=function)["Policy"])


@missing_is_none
def _api(aws: Aws, api_id: str) -> dict | None:
    return aws.client("apigateway").get_rest_api(restApiId=api_id)


KINDS = (RestApi,)
