"""The CloudFormation template: `statemachine/resources.json` and what would be the same for each function in it.

One template is the truth for every way of deploying: `sluice package` merges it with Chalice's
functions into one stack, `sluice deploy` evaluates it and makes its resources itself, and a test
compares the Terraform module with it. Functions are not in it: they are referred to by the logical
ids that Chalice gives them.
"""

from __future__ import annotations

import json
from pathlib import Path

from chalicelib.errors import ConfigurationError
from deploy import alarms, dashboard, roles, schedules, subscriptions
from deploy.stage import CONFIG, SECTION, Stage
from statemachine import render

RESOURCES = Path("statemachine", "resources.json")

# raw/ moves to a cheaper storage class after so many days; S3 refuses to delete before that
RAW_MOVES_DAYS = 30

# what can have no tags, by https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/
_UNTAGGED = {
    "AWS::ApiGateway::BasePathMapping",
    "AWS::CloudWatch::Dashboard",
    "AWS::EC2::SecurityGroupEgress",
    "AWS::EC2::SecurityGroupIngress",
    "AWS::KMS::Alias",
    "AWS::Lambda::EventSourceMapping",  # it can, and goes with its function
    "AWS::RDS::DBProxyTargetGroup",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::Subscription",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::QueuePolicy",
    "AWS::Scheduler::Schedule",
    "AWS::SecretsManager::SecretTargetAttachment",
}
STAGE_TAG = "sluice:stage"
_HOST = "SLUICE_DATABASE_HOST"
API_KEYS = "SLUICE_API_KEYS"
# with the app, of which an account may hold several
STAGE_TAG_VALUE = {"Fn::Sub": "${App}-${Stage}"}


def template(stage: Stage, project: Path) -> dict:
    """Everything of a stage but functions and layers: Parameters, Rules, Conditions, Resources, Outputs.

    The parameters' defaults are the stage's settings in `.chalice/config.json`. Raises
    ConfigurationError where a setting is none that the template takes.
    """
    made = json.loads((Path(project) / RESOURCES).read_text(encoding="utf-8"))
    resources = made["Resources"]
    functions = render.lambda_functions()
    _set_defaults(made["Parameters"], stage)
    resources["StateMachine"]["Properties"]["DefinitionString"] = _definition(project)
    resources["StateMachine"]["Properties"]["DefinitionSubstitutions"] |= {
        render.placeholder(name): function_arn(name) for name in render.state_functions()
    }
    resources["Dashboard"]["Properties"]["DashboardBody"] = dashboard.body(functions)
    policies = Path(project) / roles.FOLDER
    resources["StateMachineRole"]["Properties"]["Policies"] = [
        roles.policy(policies, "state_machine"),
        {"Fn::If": ["RunsContainers", roles.policy(policies, "run_containers"), {"Ref": "AWS::NoValue"}]},
    ]
    resources["ContainerRole"]["Properties"]["Policies"] = [
        roles.policy(policies, "container"),
        *roles.of_buckets(policies, stage.deployment.read_buckets),
    ]
    resources["ContainerExecutionRole"]["Properties"]["Policies"] = [roles.policy(policies, "container_execution")]
    [container] = resources["ContainerTask"]["Properties"]["ContainerDefinitions"]
    container["Environment"] = container_environment(stage)
    for name in ("replication_secret", "replication_stream"):
        resources[roles.role_id(name)]["Properties"]["Policies"] = [roles.policy(policies, name)]
    resources["SchedulerRole"]["Properties"]["Policies"] = [roles.policy(policies, "scheduler")]
    for more in (
        roles.of_functions(policies, functions, stage.deployment.read_buckets),
        alarms.of_functions(functions),
        schedules.of_sources(),
        schedules.of_the_sweep(),
        subscriptions.of_addresses(stage.deployment.alert_emails),
    ):
        if twice := sorted(set(more) & set(resources)):
            raise ConfigurationError(f"{RESOURCES} has {', '.join(twice)}, which is generated", next_step="rename it")
        resources |= more
    for resource in resources.values():
        if resource.get("Type") not in _UNTAGGED:
            _tag(resource)
    made["Resources"] = dict(sorted(resources.items()))
    return made


def environment() -> dict:
    """The environment variables that deploying adds to every function, as CloudFormation values."""
    return {
        API_KEYS: {"Fn::If": ["AsksForApiKeys", "on", "off"]},
        "SLUICE_BUCKET": {"Ref": "Bucket"},
        "SLUICE_DATABASE_HOST": {
            "Fn::If": [
                "HasDatabaseHost",
                {"Ref": "DatabaseHost"},
                {"Fn::If": ["MakesProxy", {"Fn::GetAtt": ["DatabaseProxy", "Endpoint"]}, {"Ref": "AWS::NoValue"}]},
            ]
        },
        "SLUICE_CONTAINERS": {"Fn::If": ["RunsContainers", "on", "off"]},
        "SLUICE_DATABASE_SECRET_ARN": roles.VALUES["DatabaseSecretArn"],
        "SLUICE_STAGE": {"Ref": "Stage"},
        # by name: the machine refers to the functions
        "SLUICE_STATE_MACHINE_ARN": roles.VALUES["StateMachineArn"],
        "SLUICE_TOKENS_SECRET_ARN": {"Ref": "TokensSecret"},
        "SLUICE_TOPIC_ARN": {"Ref": "AlertsTopic"},
        "SLUICE_TRIGGERS_URL": {"Ref": "Triggers"},
        "SLUICE_UNDELIVERED_URL": {"Ref": "Undelivered"},
    }


def place_api(made: dict, stage: object) -> None:
    """Say in `made`, a template, which `stage` of the REST API its domain and its usage plan are about."""
    made["Resources"]["ApiDomainMapping"]["Properties"]["Stage"] = stage
    for about in made["Resources"]["ApiUsagePlan"]["Properties"]["ApiStages"]:
        about["Stage"] = stage


def access_log() -> dict:
    """The ARN of the API's log group, without the `:*` that its attribute ends in."""
    return {"Fn::Select": [0, {"Fn::Split": [":*", {"Fn::GetAtt": ["ApiAccessLog", "Arn"]}]}]}


def container_environment(stage: Stage) -> list[dict]:
    """The same for containers, and what the stage gives its functions; ECS takes no empty value."""
    own = {name: str(value) for name, value in stage.config.environment_variables.items() if name not in environment()}
    # where there is a container, there are containers
    variables = {**own, **environment(), "SLUICE_CONTAINERS": "on"}
    listed = [{"Name": name, "Value": value} for name, value in sorted(variables.items())]
    return [variable for variable in listed if "Fn::If" not in variable["Value"] or variable["Name"] != _HOST] + [
        {"Fn::If": [*_if(environment()[_HOST], {"Name": _HOST})]}
    ]


def _if(value: dict, about: dict) -> list:
    """The parts of an `Fn::If` around a whole variable, where its value may be none."""
    condition, *branches = value["Fn::If"]
    return [condition] + [
        {"Fn::If": _if(branch, about)}
        if "Fn::If" in branch
        else branch
        if branch == {"Ref": "AWS::NoValue"}
        else {**about, "Value": branch}
        for branch in branches
    ]


def function_arn(function: str) -> dict:
    return {"Fn::GetAtt": [roles.logical_id(function), "Arn"]}


def _definition(project: Path) -> str:
    """The state machine as it is in the repository, without its line breaks."""
    path = Path(project) / "statemachine" / render.PATH.name
    return json.dumps(json.loads(path.read_text(encoding="utf-8")), ensure_ascii=False, separators=(",", ":"))


def _set_defaults(parameters: dict, stage: Stage) -> None:
    settings, config = stage.deployment, stage.config
    if 0 < settings.raw_days <= RAW_MOVES_DAYS:
        raise ConfigurationError(
            f"{SECTION}.raw_days of stage {stage.name} in {stage.folder / CONFIG} is {settings.raw_days}",
            next_step=f"0 keeps raw/ for good; else take more than the {RAW_MOVES_DAYS} days after which it moves",
        )
    values = {
        "App": stage.app,
        "Stage": stage.name,
        "BucketName": settings.bucket,
        "RunsDays": settings.runs_days,
        "RawDays": str(settings.raw_days),
        "LogDays": config.log_retention_in_days,
        "Schedules": "true" if settings.schedules else "false",
        "Simulation": "true" if settings.simulate_sensors else "false",
        "Changes": "true" if settings.changes else "false",
        "AccessLog": "true" if settings.access_log else "false",
        "ApiDomain": settings.api_domain,
        "ApiCertificateArn": settings.api_certificate_arn,
        "ApiRate": settings.api_rate,
        "ApiBurst": settings.api_burst,
        "ApiQuota": settings.api_quota,
        "DatabaseSecretArn": settings.database_secret_arn,
        "DatabaseHost": settings.database_host,
        "SubnetIds": ",".join(config.subnet_ids or ()),
        "SecurityGroupIds": ",".join(config.security_group_ids or ()),
    }
    for name, value in values.items():
        if value is not None:
            parameters[name]["Default"] = value
    for fixed in ("App", "Stage"):
        parameters[fixed]["AllowedValues"] = [values[fixed]]
    # the routes are packed with the question for a key or without it
    parameters["ApiQuota"]["MaxValue" if not settings.api_quota else "MinValue"] = min(settings.api_quota, 1)


def _tag(resource: dict) -> None:
    resource.setdefault("Properties", {})["Tags"] = [{"Key": STAGE_TAG, "Value": STAGE_TAG_VALUE}]
