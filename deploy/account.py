"""Whose account and which region is deployed to: boto3's usual environment decides."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

import boto3
from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError

from chalicelib import boto_errors
from chalicelib.errors import ConfigurationError
from deploy import template
from deploy.kinds import Aws
from deploy.kinds.base import missing_is_none
from deploy.plan import Resources
from deploy.stage import CONFIG, Stage
from deploy.template import STAGE_TAG
from statemachine import render


def connect(stage: Stage, made: dict | None = None) -> Aws:
    """The account and region that the environment's credentials are for; ConfigurationError where they do not serve."""
    region = boto3.Session().region_name
    if not region:
        raise ConfigurationError(
            "no AWS region is set", next_step="export AWS_DEFAULT_REGION=…, or set `region` in ~/.aws/config"
        )
    try:
        who = boto3.client("sts", region_name=region).get_caller_identity()
    except (ConnectionError, HTTPClientError) as error:
        raise _out_of_reach(error) from error
    except (ClientError, BotoCoreError) as error:
        raise ConfigurationError(
            f"AWS does not take the credentials of this environment: {error}",
            next_step="log in (`aws sso login`, or new keys); `aws sts get-caller-identity` must work",
        ) from error
    partition = who["Arn"].split(":")[1]
    aws = Aws(
        who["Account"],
        region,
        partition,
        stage.name,
        stage.prefix,
        api_stage=stage.api_stage,
        caller=who["Arn"],
        variables=tuple(template.environment()),
        folder=stage.folder,
    )
    made = made or template.template(stage, stage.folder)
    bucket = Resources(aws, made).properties("Bucket")["BucketName"]
    return dataclasses.replace(aws, bucket=bucket)


@contextlib.contextmanager
def refusals_told() -> Iterator[None]:
    """What AWS refuses while something is only looked at, as ConfigurationError."""
    try:
        yield
    except ClientError as error:
        denied = boto_errors.code(error) in ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403")
        raise ConfigurationError(
            f"AWS refused {error.operation_name}: {error.response['Error'].get('Message', error)}",
            next_step="let an administrator allow it: deploy/permissions.py lists all that is needed"
            if denied
            else None,
        ) from error
    except BotoCoreError as error:
        raise _out_of_reach(error) from error


def _out_of_reach(error: BotoCoreError) -> ConfigurationError:
    return ConfigurationError(f"AWS cannot be reached: {error}", next_step="check the network and AWS_ENDPOINT_URL")


def elsewhere(stage: Stage, aws: Aws) -> list[str]:
    """Where the stage's settings speak of another account or region than the environment's, or of another bucket."""
    arns = {
        "deployment.database_secret_arn": stage.deployment.database_secret_arn,
        "environment_variables.SLUICE_STATE_MACHINE_ARN": stage.config.environment_variables.get(
            "SLUICE_STATE_MACHINE_ARN", ""
        ),
    }
    problems = []
    for name, arn in arns.items():
        parts = arn.split(":")
        if len(parts) > 5 and (parts[3], parts[4]) != (aws.region, aws.account):
            problems.append(
                f"{name} of stage {stage.name} in {stage.folder / CONFIG} is of account {parts[4]} in {parts[3]}, the "
                f"credentials are for {aws.account} in {aws.region}: switch to that account and region, or take the "
                "setting out to deploy the stage here"
            )
    return problems or _moved(stage, aws)


def _moved(stage: Stage, aws: Aws) -> list[str]:
    """Where the stage is deployed with another bucket: the data and the record of what was made are in that one."""
    configured = stage.config.environment_variables.get("SLUICE_BUCKET")
    known = configured or _deployed_bucket(stage, aws)
    if known in (None, aws.bucket):
        return []
    return [
        f"stage {stage.name} is deployed with the bucket {known}, and deployment.bucket in {stage.folder / CONFIG} "
        f"makes it {aws.bucket}, which would be empty: put the old name back; or with the old name `sluice destroy "
        f"--stage {stage.name}` first; or make the new bucket with the tag {STAGE_TAG} = {aws.prefix}, copy the data "
        f"(`aws s3 sync s3://{known} s3://{aws.bucket} --exclude 'deployment/*'`) and set SLUICE_BUCKET among the "
        "stage's environment_variables there to the new name"
    ]


@missing_is_none
def _deployed_bucket(stage: Stage, aws: Aws) -> str | None:
    """What the functions on AWS have, for a checkout that nothing was deployed from."""
    name = stage.function_name(render.lambda_functions()[0])
    about = aws.client("lambda").get_function_configuration(FunctionName=name)
    return about.get("Environment", {}).get("Variables", {}).get("SLUICE_BUCKET")
