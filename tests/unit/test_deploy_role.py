"""The role that GitHub deploys with may do all that `sluice deploy` asks beforehand whether it may."""

import dataclasses
import fnmatch
import json
import re
from pathlib import Path

import pytest
from chalice.config import Config

from deploy import permissions
from deploy import stage as stages
from deploy.kinds import Aws
from deploy.record import Made

ROOT = Path(__file__).parents[2]
ACCOUNT, REGION = "123456789012", "eu-west-1"
VALUES = {
    "App": "sluice",
    "Stage": "prod",
    "AWS::AccountId": ACCOUNT,
    "AWS::Region": REGION,
    "AWS::Partition": "aws",
}


def statements(effect="Allow"):
    template = json.loads((ROOT / "infra" / "github-oidc.json").read_text())
    for resource in template["Resources"].values():
        for statement in resource["Properties"].get("PolicyDocument", {}).get("Statement", []):
            if statement["Effect"] == effect:
                yield statement


def resources(statement):
    for resource in statement["Resource"]:
        text = resource["Fn::Sub"] if isinstance(resource, dict) else resource
        yield re.sub(r"\$\{([\w:]+)\}", lambda found: VALUES[found[1]], text)


def allowed(action, resource):
    return any(
        action in statement["Action"]
        and any(fnmatch.fnmatchcase(resource, pattern) for pattern in resources(statement))
        for statement in statements()
    )


def needed(deployment=(), made=(), **settings):
    """For the stage with these settings beside its own; those of the section `deployment` apart.

    `made` is what there is of the stage already.
    """
    aws = Aws(ACCOUNT, REGION, "aws", "prod", bucket=f"sluice-prod-{ACCOUNT}-{REGION}")
    stage = stages.read(ROOT, "prod")
    stage = dataclasses.replace(stage, deployment=dataclasses.replace(stage.deployment, **dict(deployment)))
    document = json.loads((ROOT / stages.CONFIG).read_text())
    document["stages"]["prod"] |= settings
    asked = permissions.needed(aws, dataclasses.replace(stage, config=Config("prod", config_from_disk=document)), made)
    return [(action, resource) for resource, actions in asked.items() for action in actions]


def test_the_role_may_do_what_deploying_takes():
    assert [pair for pair in needed() if not allowed(*pair)] == []


@pytest.mark.parametrize(
    ("settings", "more"),
    [
        ({"lambda_functions": {"load": {"reserved_concurrency": 0}}}, {"lambda:PutFunctionConcurrency"}),
        (
            {"subnet_ids": ["subnet-1"], "security_group_ids": ["sg-1"]},
            {"ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DescribeVpcs"},
        ),
        ({"deployment": {"access_log": True}}, set()),
        ({"deployment": {"api_domain": "sluice.example.org", "api_quota": 100}}, set()),
    ],
)
def test_settings_that_take_more_are_asked_about_and_allowed(settings, more):
    asked = needed(**settings)
    assert {action for action, _ in asked} - {action for action, _ in needed()} == more
    assert [pair for pair in asked if not allowed(*pair)] == []


def test_whether_the_account_lets_an_api_log_is_asked_where_it_is_to():
    asked = set(needed(deployment={"access_log": True})) - set(needed())
    assert {resource.split(":", 5)[5] for _, resource in asked} == {"log-group:/aws/apigateway/sluice-prod", "/account"}


def test_a_domain_and_a_usage_plan_are_asked_about_where_they_are_wanted():
    wanted = {"api_domain": "sluice.example.org", "api_quota": 100}
    asked = {resource.split("::")[-1] for _, resource in set(needed(deployment=wanted)) - set(needed())}
    assert {"/domainnames/sluice.example.org", "/domainnames/sluice.example.org/basepathmappings/(none)"} <= asked
    assert {"/usageplans", "/usageplans/0"} <= asked


def test_what_is_to_be_taken_away_is_asked_about_as_what_is_wanted():
    made = [
        Made("AWS::ApiGateway::DomainName", "sluice.example.org"),
        Made("AWS::ApiGateway::UsagePlan", "p1"),
        Made("AWS::Kinesis::Stream", "sluice-prod-changes"),
        Made("AWS::Logs::LogGroup", "/aws/apigateway/sluice-prod"),
    ]
    wanted = {"api_domain": "sluice.example.org", "api_quota": 100, "changes": True, "access_log": True}
    assert needed(made=made) == needed(deployment=wanted)
    assert set(needed(deployment={"api_domain": "other.example.org"}, made=made[:1])) > set(needed(made=made[:1]))


@pytest.mark.parametrize("resource", ["*", "arn:aws:s3:::sluice-staging-1", f"arn:aws:iam::{ACCOUNT}:role/admin"])
def test_and_nothing_of_it_elsewhere(resource):
    """Proof that the comparison above can fail."""
    assert not allowed("s3:PutBucketPolicy", resource)
    assert not allowed("iam:PutRolePolicy", resource)


def test_it_may_not_widen_its_own_rights():
    own = f"arn:aws:iam::{ACCOUNT}:role/sluice-prod-deploy"
    denied = {
        action for statement in statements("Deny") if own in resources(statement) for action in statement["Action"]
    }
    assert denied >= {"iam:PutRolePolicy", "iam:DeleteRolePolicy", "iam:UpdateAssumeRolePolicy"}
