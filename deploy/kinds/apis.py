"""API Gateway: the REST API that Chalice makes of the routes, and what Chalice does not set on its stage.

Chalice calls the API of every stage after the app. It is found by its permission to invoke the stage's function, and
gets the stage's name, since CloudWatch tells APIs apart by their names alone. Each `chalice deploy` takes that back.
"""

from __future__ import annotations

import json
import re
from typing import ClassVar

from chalicelib.errors import DeploymentError
from deploy.kinds.base import Aws, Kind, missing_is_none

_SOURCE = re.compile(r":execute-api:[^:]*:[^:]*:([a-z0-9]+)/")
_ALL_METHODS = "*/*"

# One JSON object per request, with nothing in it that a caller sends: no header, body or token, and of the path the
# route alone, as a path may hold a key. `requestId` is that which the caller is answered.
# https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-variables-for-access-logging.html
_LOGGED = {
    "requestId": "$context.requestId",
    "extendedRequestId": "$context.extendedRequestId",
    "time": "$context.requestTimeEpoch",
    "method": "$context.httpMethod",
    "route": "$context.resourcePath",
    "status": "$context.status",
    "caller": "$context.authorizer.principalId",
    "sourceIp": "$context.identity.sourceIp",
    "milliseconds": "$context.responseLatency",
    "functionMilliseconds": "$context.integration.latency",
    "functionStatus": "$context.integration.status",
    "authorizerStatus": "$context.authorizer.status",
    "refusedFor": "$context.error.responseType",
    "bytes": "$context.responseLength",
}
ACCESS_LOG_FORMAT = json.dumps(_LOGGED, separators=(",", ":"))
_LOG_SETTINGS = "/accessLogSettings"


class RestApi(Kind):
    """Its physical id is the API's. `chalice deploy` makes the API, `chalice delete` deletes it."""

    type = "Sluice::RestApi"
    phase = 30  # deleted after the functions, of which Chalice deletes it with
    required = ("FunctionName", "Name", "StageName", "RateLimit", "BurstLimit")
    replaced_by = ("FunctionName", "StageName")
    defaults: ClassVar = {"AccessLog": None}  # the ARN of a log group

    def find(self, aws, properties):
        policy = _policy(aws, properties["FunctionName"])
        found = sorted(set(_SOURCE.findall(json.dumps(policy))))
        return next((each for each in found if _api(aws, each) is not None), None)

    def read(self, aws, physical_id):
        api = _api(aws, physical_id)
        if api is None:
            return None
        stages = {
            each["stageName"]: each for each in aws.client("apigateway").get_stages(restApiId=physical_id)["item"]
        }
        if not stages:
            return None
        # others may have been made by hand; where the one that is meant is gone, any of them tells that
        stage = stages.get(aws.api_stage) or stages[min(stages)]
        settings = stage.get("methodSettings", {}).get(_ALL_METHODS, {})
        logged = stage.get("accessLogSettings") or {}
        found = {
            "FunctionName": aws.prefix,  # Chalice's name for the function behind all routes
            "Name": api["name"],
            "StageName": stage["stageName"],
            "RateLimit": settings.get("throttlingRateLimit"),
            "BurstLimit": settings.get("throttlingBurstLimit"),
        }
        # one in another form is none of ours
        if logged.get("format") == ACCESS_LOG_FORMAT:
            found["AccessLog"] = logged["destinationArn"].removesuffix(":*")
        elif logged:
            found["AccessLog"] = "another form"
        return found

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
        aws.client("apigateway").update_rest_api(
            restApiId=physical_id, patchOperations=[{"op": "replace", "path": "/name", "value": wanted["Name"]}]
        )
        aws.client("apigateway").update_stage(
            restApiId=physical_id,
            stageName=wanted["StageName"],
            patchOperations=[
                *(
                    {"op": "replace", "path": f"/{_ALL_METHODS}/throttling/{name}", "value": str(value)}
                    for name, value in limits.items()
                ),
                *_access_log(wanted.get("AccessLog"), present.get("AccessLog")),
            ],
        )

    @missing_is_none
    def delete(self, aws, physical_id):
        if _api(aws, physical_id) is not None:  # as a rule `chalice delete` was here before
            aws.client("apigateway").delete_rest_api(restApiId=physical_id)

    def owner(self, aws, physical_id, present):
        return aws.prefix  # it may invoke the stage's function


def _access_log(wanted: str | None, present: str | None) -> list[dict]:
    """The operations that make the stage log to the group `wanted`."""
    if not wanted:
        return [{"op": "remove", "path": _LOG_SETTINGS}] if present else []
    given = {"destinationArn": wanted, "format": ACCESS_LOG_FORMAT}
    return [{"op": "replace", "path": f"{_LOG_SETTINGS}/{name}", "value": value} for name, value in given.items()]


def writes_logs(aws: Aws) -> bool:
    """Whether the account has a role for API Gateway to write logs with, which no single stage can have."""
    return bool(aws.client("apigateway").get_account().get("cloudwatchRoleArn"))


@missing_is_none
def _policy(aws: Aws, function: str) -> dict | None:
    return json.loads(aws.client("lambda").get_policy(FunctionName=function)["Policy"])


@missing_is_none
def _api(aws: Aws, api_id: str) -> dict | None:
    return aws.client("apigateway").get_rest_api(restApiId=api_id)


KINDS = (RestApi,)
