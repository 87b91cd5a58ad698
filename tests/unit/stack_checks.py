"""What must be true of the stack's template where the emulated AWS looks away: one function per subject.

Each takes the template as CloudFormation gets it, SAM's transform done, and yields what is wrong. test_template.py
shows that each finds a fault that was put in.
"""

from __future__ import annotations

import dataclasses
import json
import re
import zoneinfo
from collections.abc import Iterator

from chalicelib import contracts, sources, telemetry
from chalicelib.lake import keys
from deploy import artefacts
from deploy import roles as own_roles
from statemachine import render

FUNCTIONS = render.lambda_functions()
IDS = {name: own_roles.logical_id(name) for name in FUNCTIONS}

# the metrics that AWS emits by itself, with their dimensions:
# https://docs.aws.amazon.com/step-functions/latest/dg/procedure-cw-metrics.html
# https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
# https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-metrics.html
# https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-metrics-and-dimensions.html
_EXECUTIONS = ["Started", "Succeeded", "Failed", "TimedOut", "Aborted"]
EMITTED = {
    **{("AWS/States", f"Executions{what}"): {"StateMachineArn"} for what in _EXECUTIONS},
    ("AWS/States", "ExecutionTime"): {"StateMachineArn"},
    **{("AWS/Lambda", what): {"FunctionName"} for what in ("Invocations", "Errors", "Throttles", "Duration")},
    ("AWS/Lambda", "IteratorAge"): {"FunctionName"},
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"): {"QueueName"},
    ("AWS/RDS", "FreeStorageSpace"): {"DBInstanceIdentifier"},
    **{("AWS/ApiGateway", what): {"ApiName"} for what in ("Count", "4XXError", "5XXError", "Latency")},
}
OUR_DIMENSIONS = {"service", "stage", "state", "source"}

_SCHEDULED, _SIMULATED = "RunsAreScheduled", "SensorsAreSimulated"
_TRIGGERS = {"Fn::GetAtt": ["Triggers", "Arn"]}

# logical id -> the end of its name
QUEUES = {
    "DeadLetters": "dead-letters",
    "Triggers": "triggers",
    "Undelivered": "undelivered",
    "WebhookEvents": "webhook-events",
}

_SCHEDULE = re.compile(r"cron\((\S+ ){5}\S+\)|rate\([1-9]\d* (minute|hour|day)s?\)")
_SEARCH = re.compile(
    r"SEARCH\('\{(\w+),([\w,]+)\} MetricName=\"(\w+)\" stage=\"dev\"(?: state=\"(\w+)\")?', 'Sum', \d+\)"
)


def resources(template: dict, kind: str) -> dict[str, dict]:
    """Those of a type, by logical id."""
    return {name: r for name, r in template["Resources"].items() if r["Type"] == kind}


def properties(template: dict, logical_id: str) -> dict:
    return template["Resources"].get(logical_id, {}).get("Properties", {})


def text(value, template: dict) -> str:
    """A value as text, with the parameters' defaults; a resource stands as `<LogicalId>` or `<LogicalId.Attribute>`."""
    if isinstance(value, str | int | float):
        return str(value)
    if "Ref" in value:
        parameter = template["Parameters"].get(value["Ref"])
        return str(parameter["Default"]) if parameter else f"<{value['Ref']}>"
    if "Fn::GetAtt" in value:
        return "<" + ".".join(value["Fn::GetAtt"]) + ">"
    if "Fn::Sub" in value:
        form, variables = (value["Fn::Sub"], {}) if isinstance(value["Fn::Sub"], str) else value["Fn::Sub"]
        return re.sub(r"\$\{([^}]+)\}", lambda found: text(variables.get(found[1], {"Ref": found[1]}), template), form)
    return json.dumps(value)


def statements(template: dict, policy: dict) -> list[dict]:
    """A policy's statements, with lists in place of single values and texts in place of functions."""

    def listed(value) -> list[str]:
        return [text(item, template) for item in (value if isinstance(value, list) else [value])]

    return [
        {**statement, **{key: listed(statement[key]) for key in ("Action", "Resource") if key in statement}}
        for statement in policy["Statement"]
    ]


def inline(template: dict, role: str) -> list[dict]:
    """The statements of a role's inline policies, conditional ones left out."""
    attached = properties(template, role).get("Policies", [])
    return [s for policy in attached if "Fn::If" not in policy for s in statements(template, policy["PolicyDocument"])]


def allowed(template: dict, role: str, action: str) -> set[str]:
    """The resources for which a role's policies allow an action."""
    return {
        resource
        for statement in inline(template, role)
        if statement["Effect"] == "Allow" and action in statement["Action"]
        for resource in statement["Resource"]
    }


# --- schedules -------------------------------------------------------------------------------


def schedules(template: dict) -> Iterator[str]:
    wanted = {name for name in sources.names() if sources.get(name).schedule}
    found = set()
    for name, resource in resources(template, "AWS::Scheduler::Schedule").items():
        own = resource["Properties"]
        target = own["Target"]
        if own.get("ScheduleExpressionTimezone") not in zoneinfo.available_timezones():
            yield f"{name}: {own.get('ScheduleExpressionTimezone')} is no time zone"
        if not _SCHEDULE.fullmatch(own["ScheduleExpression"]):
            yield f"{name}: {own['ScheduleExpression']} is no schedule"
        source = own["Name"]["Fn::Sub"].removeprefix("${App}-${Stage}-")
        is_sweep = source == "housekeeping"
        simulated = source in wanted and sources.get(source).simulator
        called = {"Fn::GetAtt": ["SimulateSensors", "Arn"]} if simulated else _TRIGGERS
        if (target["Arn"], target["RoleArn"]) != (called, {"Fn::GetAtt": ["SchedulerRole", "Arn"]}):
            yield f"{name}: does not send to the triggers, or invoke the simulator, as the scheduler"
        if own["State"] != {"Fn::If": [_SIMULATED if simulated else _SCHEDULED, "ENABLED", "DISABLED"]}:
            yield f"{name}: is on where nobody asked for it"
        if target.get("DeadLetterConfig") != {"Arn": {"Fn::GetAtt": ["Undelivered", "Arn"]}}:
            yield f"{name}: a trigger that cannot be sent is lost"
        if json.loads(target["Input"]).get("scheduled") != "<aws.scheduler.scheduled-time>":
            yield f"{name}: delivered twice it would run twice"
        if not target.get("RetryPolicy", {}).get("MaximumRetryAttempts"):
            yield f"{name}: is not tried again"
        if own.get("GroupName") != {"Ref": "ScheduleGroup"}:
            yield f"{name}: is outside of the group that the role trusts"
        if json.loads(target["Input"]).get("source") != (None if simulated or is_sweep else source):
            yield f"{name}: asks for a run of another source"
        if is_sweep:
            if json.loads(target["Input"]).get("sweep") is not True:
                yield f"{name}: sweeps nothing"
        elif source not in wanted:
            yield f"{name}: starts {source}, which has no schedule"
        elif (own["ScheduleExpression"], own.get("ScheduleExpressionTimezone")) != (
            sources.get(source).schedule,
            sources.get(source).timezone,
        ):
            yield f"{name}: is not what {source} declares"
        found.add(source)
    yield from (f"{source}: is not scheduled" for source in sorted({*wanted, "housekeeping"} - found))


def scheduler_role(template: dict) -> Iterator[str]:
    """It may send triggers, keep those that it cannot send, invoke the simulator, and nothing else."""
    may = {
        (action, resource)
        for statement in inline(template, "SchedulerRole")
        for action in statement["Action"]
        for resource in statement["Resource"]
    }
    wanted = {
        ("lambda:InvokeFunction", "<SimulateSensors.Arn>"),
        ("sqs:SendMessage", "<Triggers.Arn>"),
        ("sqs:SendMessage", "<Undelivered.Arn>"),
        ("kms:Decrypt", "<Key.Arn>"),
        ("kms:GenerateDataKey", "<Key.Arn>"),
    }
    if may != wanted:
        yield f"SchedulerRole may {sorted(may ^ wanted)} more or less"
    trusted = properties(template, "SchedulerRole")["AssumeRolePolicyDocument"]["Statement"][0]
    if trusted["Principal"] != {"Service": "scheduler.amazonaws.com"}:
        yield "SchedulerRole: the scheduler may not take it"
    source = trusted.get("Condition", {}).get("StringEquals", {})
    if not text(source.get("aws:SourceArn", ""), template).endswith(":schedule-group/sluice-dev"):
        yield "SchedulerRole: any schedule of any account may take it"


# --- alarms and the dashboard ----------------------------------------------------------------


def _series(template: dict) -> dict[str, set[str]]:
    """What values the dimensions may have."""
    return {
        "StateMachineArn": {"<StateMachine>"},
        "FunctionName": {text(properties(template, i)["FunctionName"], template) for i in IDS.values()},
        "QueueName": {
            *(f"<{logical_id}.QueueName>" for logical_id in QUEUES),
            *(f"sluice-dev-{name}" for name in QUEUES.values()),
        },
        "DBInstanceIdentifier": {"<Database>"},
        "ApiName": {text(properties(template, "RestAPI").get("Name", ""), template)},
    }


def alarms(template: dict) -> Iterator[str]:
    for name, resource in resources(template, "AWS::CloudWatch::Alarm").items():
        own = resource["Properties"]
        if own.get("AlarmActions") != [{"Ref": "AlertsTopic"}]:
            yield f"{name}: tells nobody"
        if own.get("ActionsEnabled", True) is not True:
            yield f"{name}: is switched off"
        metric = own["Namespace"], own["MetricName"]
        dimensions = {d["Name"]: text(d["Value"], template) for d in own["Dimensions"]}
        if EMITTED.get(metric) != set(dimensions):
            yield f"{name}: nobody emits {metric} by {sorted(dimensions)}"
        for dimension, value in dimensions.items():
            if value not in _series(template).get(dimension, ()):
                yield f"{name}: there is no {dimension} {value}"
        if ("Statistic" in own) == ("ExtendedStatistic" in own):
            yield f"{name}: one statistic is what it looks at"
        # else CloudWatch judges a percentile by a handful of requests:
        # https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/percentiles-with-low-samples.html
        if ("ExtendedStatistic" in own) != (own.get("EvaluateLowSampleCountPercentile") == "ignore"):
            yield f"{name}: a few slow answers at night are no percentile"
        # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
        window = own["Period"] * int(text(own["EvaluationPeriods"], template))
        if window > (604_800 if own["Period"] >= 3600 else 86_400):
            yield f"{name}: CloudWatch looks no {window} seconds back"


def alarms_that_must_be(template: dict) -> Iterator[str]:
    """Metric, dimension's value, comparison with a threshold, and what no data mean."""
    above, missing = "GreaterThanThreshold", "notBreaching"
    wanted = {
        ("ExecutionsFailed", "<StateMachine>", above, 0, missing),
        ("ExecutionsTimedOut", "<StateMachine>", above, 0, missing),
        ("Invocations", "sluice-dev-reject", above, 0, missing),
        ("ApproximateNumberOfMessagesVisible", "sluice-dev-dead-letters", above, 0, missing),
        ("ApproximateNumberOfMessagesVisible", "sluice-dev-undelivered", above, 0, missing),
        ("IteratorAge", "sluice-dev-apply_changes", above, 600_000, missing),
        ("ExecutionsSucceeded", "<StateMachine>", "LessThanThreshold", 1, "breaching"),
        ("FreeStorageSpace", "<Database>", "LessThanThreshold", 5_000_000_000, "missing"),
        ("5XXError", "sluice-dev", "GreaterThanOrEqualToThreshold", 5, missing),
        ("Latency", "sluice-dev", above, 5000, missing),
    }
    for function in FUNCTIONS:
        at_least = "GreaterThanOrEqualToThreshold"
        wanted.add(("Errors", render.full_name("sluice-dev", function), at_least, 3, missing))
        wanted.add(("Throttles", render.full_name("sluice-dev", function), at_least, 1, missing))
    found = set()
    for resource in resources(template, "AWS::CloudWatch::Alarm").values():
        own = resource["Properties"]
        value = text(own["Dimensions"][0]["Value"], template)
        for logical_id, name in QUEUES.items():
            value = value.replace(f"<{logical_id}.QueueName>", f"sluice-dev-{name}")
        found.add((own["MetricName"], value, own["ComparisonOperator"], own["Threshold"], own["TreatMissingData"]))
    yield from (f"no alarm: {alarm}" for alarm in sorted(wanted - found))
    yield from (f"nobody asked for: {alarm}" for alarm in sorted(found - wanted))


def reject_means_quality(template: dict) -> Iterator[str]:
    """The alarm on quality failures counts calls of Reject: nothing but a verdict may lead there."""
    machine = json.loads(properties(template, "StateMachine")["DefinitionString"])
    before = {name for name, state in machine["States"].items() if _leads(state, "Reject")}
    if before != {"AlertQualityFailure"}:
        yield f"Reject comes after {sorted(before)}"


def _leads(state: dict, target: str) -> bool:
    return f'"{target}"' in json.dumps([value for key, value in state.items() if key != "ItemProcessor"])


def dashboard(template: dict) -> Iterator[str]:
    body = json.loads(text(properties(template, "Dashboard")["DashboardBody"], template))
    shown = set()
    for widget in body["widgets"]:
        for namespace, *rest in widget["properties"]["metrics"]:
            if isinstance(namespace, dict):
                problem = _expression(namespace["expression"])
                if problem:
                    yield f"{widget['properties']['title']}: {problem}"
                shown.add(namespace["expression"].split('MetricName="')[1].split('"')[0])
                continue
            metric, dimension, value = rest[:3]
            shown.add(metric)
            if (metric in ("ExecutionTime", "Duration", "Latency")) != widget["properties"]["title"].startswith(
                "Milliseconds"
            ):
                yield f"{widget['properties']['title']}: that is not what {metric} is in"
            if EMITTED.get((namespace, metric)) != {dimension} or value not in _series(template)[dimension]:
                yield f"{widget['properties']['title']}: nobody emits {metric} of {value}"
    wanted = ["ExecutionsFailed", "ExecutionTime", "RowsIn", "RowsOut", "RowsQuarantined", "Failures", "Errors"]
    wanted += ["Count", "5XXError", "Latency"]
    missing = {*wanted, "ApproximateNumberOfMessagesVisible"} - shown
    yield from (f"not shown: {metric}" for metric in sorted(missing))


def _expression(expression: str) -> str | None:
    found = re.fullmatch(
        r"SEARCH\('\{(\w+),([\w,]+)\} MetricName=\"(\w+)\" stage=\"dev\"(?: state=\"(\w+)\")?', 'Sum', \d+\)",
        expression,
    )
    if not found:
        return f"{expression} is no search"
    namespace, dimensions, metric, state = found.groups()
    if namespace != telemetry.NAMESPACE or set(dimensions.split(",")) != OUR_DIMENSIONS:
        return f"nobody emits to {namespace} by {dimensions}"
    if metric in ("Seconds", "Failures") and not state:
        return None
    result = getattr(contracts, render.placeholder(state or "").removesuffix("Arn") + "Result", None)
    fields = {field.name for field in dataclasses.fields(result)} if result else set()
    if not fields & set(telemetry._ROWS.get(metric, ())):
        return f"{state} does not emit {metric}"
    return None


# --- the state machine -----------------------------------------------------------------------


def machine(template: dict) -> Iterator[str]:
    own = properties(template, "StateMachine")
    if json.loads(own["DefinitionString"]) != render.definition():
        yield "the definition is not the repository's"
    placeholders = set(re.findall(r"\$\{(\w+)\}", own["DefinitionString"]))
    given = own["DefinitionSubstitutions"]
    yield from (f"${{{name}}} stands for nothing" for name in sorted(placeholders - set(given)))
    yield from (f"${{{name}}} is nowhere" for name in sorted(set(given) - placeholders))
    wanted = {"Bucket": "<Bucket>", "AlertsTopicArn": "<AlertsTopic>", "DeadLetterUrl": "<DeadLetters>"}
    wanted |= {"ContainerCluster": "sluice-dev", "ContainerFamily": "sluice-dev-stages"}
    placed = ("ContainerSubnets", "ContainerSecurityGroups")
    wanted |= {
        name: text(given.get(name, ""), template)
        for name in placed
        if given.get(name, {}).get("Fn::If", [""])[0] == "RunsContainers"
    }
    for function, logical_id in IDS.items():
        alias = function in artefacts.GATE_FUNCTIONS and f"{logical_id}Aliaslive" in template["Resources"]
        wanted[render.placeholder(function)] = f"<{logical_id}Aliaslive>" if alias else f"<{logical_id}.Arn>"
    for name, value in given.items():
        if text(value, template) != wanted.get(name):
            yield f"{name} is {text(value, template)}, not {wanted.get(name)}"
    logging = own.get("LoggingConfiguration", {})
    log = {"LogGroupArn": {"Fn::GetAtt": ["StateMachineLog", "Arn"]}}
    if logging.get("Level") != "ALL" or logging.get("Destinations") != [{"CloudWatchLogsLogGroup": log}]:
        yield "the machine does not log everything to its log group"
    if logging.get("IncludeExecutionData") != {"Ref": "LogExecutionData"}:
        yield "whether data are logged is not the parameter's to say"
    if own.get("TracingConfiguration") != {"Enabled": True}:
        yield "the machine is not traced"
    if not properties(template, "StateMachineLog").get("RetentionInDays"):
        yield "the machine's log is kept for good"


def _of_containers(template: dict) -> Iterator[tuple]:
    """Rights that the machine's policies give for containers: test_policies.py holds them against its states."""
    for statement in inline(template, "StateMachineRole"):
        for action in statement["Action"]:
            if action.split(":")[0] in ("ecs", "events", "iam"):
                for resource in statement["Resource"]:
                    yield statement["Effect"], action, resource, json.dumps(statement.get("Condition"))


def machine_role(template: dict) -> Iterator[str]:
    given = properties(template, "StateMachine")["DefinitionSubstitutions"]
    functions = {text(given[render.placeholder(function)], template) for function in render.state_functions()}
    may = allowed(template, "StateMachineRole", "lambda:InvokeFunction")
    if may != functions:
        yield f"the machine may call {sorted(may)}, and calls {sorted(functions)}"
    if allowed(template, "StateMachineRole", "sns:Publish") != {"<AlertsTopic>"}:
        yield "the machine may not alert"
    if allowed(template, "StateMachineRole", "sqs:SendMessage") != {"<DeadLetters.Arn>"}:
        yield "the machine may not keep dead letters"
    # what no state asks for: the key of what is encrypted, its log and its traces
    region = {"Region": {"Ref": "AWS::Region"}}
    services = [{"Fn::Sub": [f"{name}.${{Region}}.amazonaws.com", region]} for name in ("s3", "sns", "sqs")]
    through_services = {"StringEquals": {"kms:ViaService": services}}
    # https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html#cloudwatch-iam-policy
    of_logs = "CreateLogDelivery DeleteLogDelivery DescribeLogGroups DescribeResourcePolicies GetLogDelivery"
    of_logs += " ListLogDeliveries PutResourcePolicy UpdateLogDelivery"
    # https://docs.aws.amazon.com/step-functions/latest/dg/xray-iam.html
    of_traces = "GetSamplingRules GetSamplingTargets PutTelemetryRecords PutTraceSegments"
    wanted = {
        *(("Allow", f"kms:{do}", "<Key.Arn>", json.dumps(through_services)) for do in ("Decrypt", "GenerateDataKey")),
        *(("Allow", f"logs:{do}", "*", "null") for do in of_logs.split()),
        *(("Allow", f"xray:{do}", "*", "null") for do in of_traces.split()),
        *_of_containers(template),
    }
    may = {
        (statement["Effect"], action, resource, json.dumps(statement.get("Condition")))
        for statement in inline(template, "StateMachineRole")
        for action in statement["Action"]
        for resource in statement["Resource"]
        if action.split(":")[0] not in ("lambda", "s3", "sns", "sqs", "states")
    }
    if may != wanted:
        yield f"StateMachineRole may {sorted(may ^ wanted)} more or less"


# --- functions -------------------------------------------------------------------------------


def functions(template: dict) -> Iterator[str]:
    for function, logical_id in IDS.items():
        own = properties(template, logical_id)
        role = own_roles.role_id(function)
        if own.get("Role") != {"Fn::GetAtt": [role, "Arn"]}:
            yield f"{function}: has not its own role"
        elif text(properties(template, role).get("RoleName", ""), template) != f"sluice-dev-{function}":
            yield f"{function}: its role is called otherwise"
        if text(own.get("FunctionName", ""), template) != render.full_name("sluice-dev", function):
            yield f"{function}: is called {own.get('FunctionName')}"
        if own.get("TracingConfig") != {"Mode": "Active"}:
            yield f"{function}: is not traced"
        log = properties(template, f"{role.removesuffix('Role')}LogGroup")
        called = "${App}-${Stage}" if function == render.API_HANDLER else f"${{{logical_id}}}"
        if log.get("LogGroupName") != {"Fn::Sub": f"/aws/lambda/{called}"} or not log.get("RetentionInDays"):
            yield f"{function}: its log is kept for good"
        layers = [layer["Ref"].rstrip("0123456789abcdef") for layer in own["Layers"]]
        if layers != ["ManagedLayer", *map(artefacts.layer_id, artefacts.above(function))]:
            yield f"{function}: has the layers {layers}"
        variables = own["Environment"]["Variables"]
        missing = {f"SLUICE_{name}" for name in _VARIABLES} - set(variables)
        if missing:
            yield f"{function}: has no {sorted(missing)}"
        if {"SLUICE_DATABASE_URL", "SLUICE_TOKENS"} & set(variables) or "resolve:" in json.dumps(variables):
            yield f"{function}: has a secret in its environment"
        if own.get("VpcConfig", {}).get("Fn::If", [""])[0] != "InVpc":
            yield f"{function}: cannot be put into a VPC"
        tags = {tag["Key"] for tag in own.get("Tags", [])}
        if "sluice:stage" not in tags:
            yield f"{function}: has no tag of its stage"
    for name, resource in resources(template, "AWS::IAM::Role").items():
        for policy in resource["Properties"].get("Policies", []):
            if "*" in json.dumps([s["Action"] for s in _statements_of(policy)]):
                yield f"{name}: may more than it needs"


_VARIABLES = (
    "STAGE",
    "BUCKET",
    "DATABASE_SECRET_ARN",
    "DATABASE_HOST",
    "TOKENS_SECRET_ARN",
    "STATE_MACHINE_ARN",
    "TOPIC_ARN",
    "TRIGGERS_URL",
    "UNDELIVERED_URL",
)


def _statements_of(policy: dict) -> list[dict]:
    return (policy["Fn::If"][1] if "Fn::If" in policy else policy)["PolicyDocument"]["Statement"]


def roles(template: dict) -> Iterator[str]:
    """No other roles than ours, and no policy larger than IAM takes
    (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html)."""
    ours = {own_roles.role_id(name) for name in FUNCTIONS}
    ours |= {"StateMachineRole", "SchedulerRole", "DatabaseMonitoringRole", "ProxyRole"}
    ours |= {"ContainerRole", "ContainerExecutionRole", "ReplicationSecretRole", "ReplicationStreamRole"}
    found = resources(template, "AWS::IAM::Role")
    yield from (f"{name}: nobody asked for this role" for name in sorted(set(found) - ours))
    for name, resource in found.items():
        policies = resource["Properties"].get("Policies", [])
        # ARNs are filled in: their functions take more room than they do
        size = sum(len(re.sub(r"\s", "", _flat(policy, template))) for policy in policies)
        if size > 10_240:
            yield f"{name}: its policies have {size} characters"


def _flat(policy: dict, template: dict) -> str:
    """A policy's text, each function in it as what it gives, ARNs at their longest."""

    def filled(value):
        if isinstance(value, list):
            return [filled(item) for item in value]
        if isinstance(value, dict) and any(key in value for key in ("Ref", "Fn::Sub", "Fn::GetAtt", "Fn::If")):
            return re.sub(r"<[^>]+>", "x" * 90, text(value, template))
        return {key: filled(item) for key, item in value.items()} if isinstance(value, dict) else value

    return json.dumps(filled((policy["Fn::If"][1] if "Fn::If" in policy else policy)["PolicyDocument"]))


# --- data ------------------------------------------------------------------------------------


def _denies_without_tls(template: dict, logical_id: str, actions: list[str], wanted: list[str]) -> bool:
    policy = properties(template, logical_id).get("PolicyDocument", {"Statement": []})
    return any(
        statement["Effect"] == "Deny"
        and statement["Principal"] in ("*", {"AWS": "*"})
        and statement["Action"] == actions
        and sorted(statement["Resource"]) == sorted(wanted)
        and statement.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}
        for statement in statements(template, policy)
    )


def bucket(template: dict) -> Iterator[str]:
    own = properties(template, "Bucket")
    if not _denies_without_tls(template, "BucketPolicy", ["s3:*"], ["<Bucket.Arn>", "<Bucket.Arn>/*"]):
        yield "the bucket can be read without TLS"
    if properties(template, "BucketPolicy").get("Bucket") != {"Ref": "Bucket"}:
        yield "the policy is another bucket's"
    if own.get("VersioningConfiguration") != {"Status": "Enabled"}:
        yield "the bucket has no versions"
    [rule] = own["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    encryption = rule["ServerSideEncryptionByDefault"]
    if encryption.get("SSEAlgorithm") != "aws:kms" or text(encryption["KMSMasterKeyID"], template) != "<Key.Arn>":
        yield "the bucket is not encrypted with our key"
    blocked = own.get("PublicAccessBlockConfiguration", {})
    if len(blocked) != 4 or not all(value is True for value in blocked.values()):
        yield "the bucket may be made public"
    if own.get("OwnershipControls") != {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}:
        yield "objects may be others'"
    rules = {
        rule.get("Prefix", ""): rule for rule in own["LifecycleConfiguration"]["Rules"] if rule["Status"] == "Enabled"
    }
    if rules.get("runs/", {}).get("ExpirationInDays") != {"Ref": "RunsDays"}:
        yield "runs/ is kept for good"
    raw = rules.get("raw/", {})
    kept = {"Fn::If": ["RawExpires", {"Ref": "RawDays"}, {"Ref": "AWS::NoValue"}]}
    if raw.get("ExpirationInDays") != kept or not raw.get("Transitions"):
        yield "raw/ is not kept as the parameter says, or never moves to cheaper storage"
    rest = rules.get("", {})
    if "ExpirationInDays" in rest or not {"NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload"} <= set(rest):
        yield "old versions and broken uploads are kept, or everything expires"
    expiring = [prefix for prefix, rule in rules.items() if prefix and prefix != "raw/" and "ExpirationInDays" in rule]
    if keys.declaration("run").startswith(tuple(expiring)):
        yield "what a run declared of its source expires, and the table needs it"


def topic_and_queues(template: dict) -> Iterator[str]:
    for logical_id in ("AlertsTopic", *QUEUES):
        if text(properties(template, logical_id).get("KmsMasterKeyId", ""), template) != "<Key.Arn>":
            yield f"{logical_id} is not encrypted with our key"
    for logical_id in ("DeadLetters", "Undelivered"):
        if properties(template, logical_id).get("MessageRetentionPeriod") != 14 * 24 * 3600:
            yield f"{logical_id}: messages are not kept as long as they can be"
    if not _denies_without_tls(template, "AlertsTopicPolicy", ["sns:Publish"], ["<AlertsTopic>"]):
        yield "the topic takes messages without TLS"
    if properties(template, "AlertsTopicPolicy").get("Topics") != [{"Ref": "AlertsTopic"}]:
        yield "the policy is another topic's"
    for logical_id in QUEUES:
        if not _denies_without_tls(template, f"{logical_id}Policy", ["sqs:*"], [f"<{logical_id}.Arn>"]):
            yield f"{logical_id} takes messages without TLS"
        if properties(template, f"{logical_id}Policy").get("Queues") != [{"Ref": logical_id}]:
            yield f"the policy of {logical_id} is another queue's"
    account = {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
    for logical_id, document, action in (
        ("AlertsTopicPolicy", "PolicyDocument", "sns:Publish"),
        ("Key", "KeyPolicy", "kms:GenerateDataKey*"),
        ("Key", "KeyPolicy", "kms:Decrypt"),
    ):
        if not any(
            s["Effect"] == "Allow"
            and s["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
            and action in s["Action"]
            and s.get("Condition") == account
            for s in statements(template, properties(template, logical_id).get(document, {"Statement": []}))
        ):
            yield f"{logical_id}: alarms of this account, and they alone, need {action} to reach the topic"


def triggers(template: dict) -> Iterator[str]:
    """What comes in reaches its function, again where that fails, and is kept where it fails for good."""
    for name, resource in resources(template, "AWS::Lambda::EventSourceMapping").items():
        own = resource["Properties"]
        if own.get("FunctionResponseTypes") != ["ReportBatchItemFailures"]:
            yield f"{name}: one message that fails brings its whole batch back"
        source, function = own["EventSourceArn"]["Fn::GetAtt"][0], own["FunctionName"]["Fn::GetAtt"][0]
        # what Lambda gives up of a stream is lost: the shard's position moves beyond it
        if "StartingPosition" in own and own.get("MaximumRetryAttempts", -1) != -1:
            yield f"{name}: an outage may use up its retries"
        if "StartingPosition" in own and own.get("MaximumRecordAgeInSeconds", -1) != -1:
            yield f"{name}: an outage may outlast its records"
        if template["Resources"].get(source, {}).get("Type") != "AWS::SQS::Queue":
            continue
        queue = properties(template, source)
        redrive = queue.get("RedrivePolicy", {})
        if redrive.get("deadLetterTargetArn") != {"Fn::GetAtt": ["Undelivered", "Arn"]}:
            yield f"{source}: what fails for good is lost"
        # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
        if int(redrive.get("maxReceiveCount", 0)) < 5:
            yield f"{source}: throttling alone may take a message out of it"
        if int(queue.get("VisibilityTimeout", 30)) < 6 * int(properties(template, function).get("Timeout", 60)):
            yield f"{source}: a message may come again while {function} works on it"
        if allowed(template, f"{function}Role", "sqs:ReceiveMessage") != {f"<{source}.Arn>"}:
            yield f"{function} may not receive from {source}, or more than that"
    read = {
        (r["Properties"]["EventSourceArn"]["Fn::GetAtt"][0], r["Properties"]["FunctionName"]["Fn::GetAtt"][0])
        for r in resources(template, "AWS::Lambda::EventSourceMapping").values()
    }
    for pair in (("Triggers", "StartRun"), ("WebhookEvents", "CollectEvents")):
        if pair not in read:
            yield f"nobody reads {pair[0]}"
    yield from _inbox(template)


def _inbox(template: dict) -> Iterator[str]:
    notices = properties(template, "Bucket").get("NotificationConfiguration", {}).get("QueueConfigurations", [])
    told = {
        (text(n["Queue"], template), n["Event"], rule["Name"], rule["Value"])
        for n in notices
        for rule in n.get("Filter", {"S3Key": {"Rules": [{"Name": "", "Value": ""}]}})["S3Key"]["Rules"]
    }
    if ("<Triggers.Arn>", "s3:ObjectCreated:*", "prefix", "inbox/") not in told:
        yield "what comes into the inbox starts nothing"
    if ("<WebhookEvents.Arn>", "s3:ObjectCreated:*", "prefix", "webhooks/") not in told:
        yield "what a webhook brings is never collected"
    if any(not value.strip("/") or value.startswith(("raw", "runs")) for _, _, _, value in told):
        yield "what the pipeline writes itself would start runs"
    account = {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
    key = statements(template, properties(template, "Key").get("KeyPolicy", {"Statement": []}))
    for queue in {text(n["Queue"], template)[1:].partition(".")[0] for n in notices}:
        if f"{queue}Policy" not in str(template["Resources"]["Bucket"].get("DependsOn")):
            yield f"the bucket is made before it may tell {queue}"
        policy = properties(template, f"{queue}Policy").get("PolicyDocument", {"Statement": []})
        [may] = [s for s in statements(template, policy) if s["Effect"] == "Allow"] or [{}]
        if (may.get("Principal"), may.get("Action")) != ({"Service": "s3.amazonaws.com"}, ["sqs:SendMessage"]):
            yield f"the bucket may not tell {queue}, or others may"
        condition = may.get("Condition", {})
        name = {"Fn::Sub": "arn:${AWS::Partition}:s3:::${App}-${Stage}-${AWS::AccountId}-${AWS::Region}"}
        named = {"Fn::Sub": "arn:${AWS::Partition}:s3:::${BucketName}"}
        ours = {"ArnEquals": {"aws:SourceArn": {"Fn::If": ["BucketIsNamed", named, name]}}}
        if condition != account | ours:
            yield f"other buckets may tell {queue}"
    if not any(
        s["Principal"] == {"Service": "s3.amazonaws.com"}
        and {"kms:Decrypt", "kms:GenerateDataKey*"} <= set(s["Action"])
        and s.get("Condition") == account
        for s in key
    ):
        yield "the bucket of this account, and it alone, needs the key of the queues"


def subscriptions(template: dict) -> Iterator[str]:
    """The addresses of the stage in test_template.py."""
    found = resources(template, "AWS::SNS::Subscription").values()
    for own in (resource["Properties"] for resource in found):
        if (own["Protocol"], own["TopicArn"]) != ("email", {"Ref": "AlertsTopic"}):
            yield f"{own['Endpoint']} gets no email"
    addresses = sorted(resource["Properties"]["Endpoint"] for resource in found)
    if addresses != ["a@example.com", "b@example.com"]:
        yield f"alerts go to {addresses}"


def kept(template: dict) -> Iterator[str]:
    """What holds data outlives the stack."""
    # a stack that could not be made leaves nothing behind that keeps the next try from its name
    kept_but_not_by_a_failure = ("RetainExceptOnCreate", "Retain")
    wanted = {
        "AWS::KMS::Key": kept_but_not_by_a_failure,
        "AWS::S3::Bucket": kept_but_not_by_a_failure,
        "AWS::S3::BucketPolicy": kept_but_not_by_a_failure,
        "AWS::SecretsManager::Secret": kept_but_not_by_a_failure,
        "AWS::RDS::DBInstance": ("Snapshot", "Snapshot"),
    }
    for name, resource in template["Resources"].items():
        policies = wanted.get(resource["Type"])
        if policies and (resource.get("DeletionPolicy"), resource.get("UpdateReplacePolicy")) != policies:
            yield f"{name} would go with the stack, or stay behind a stack that was never made"


def secrets(template: dict) -> Iterator[str]:
    found = resources(template, "AWS::SecretsManager::Secret")
    for name, resource in found.items():
        if "SecretString" in resource["Properties"]:
            yield f"{name}: its value stands in the template"
        if text(resource["Properties"].get("KmsKeyId", ""), template) != "<Key.Arn>":
            yield f"{name} is not encrypted with our key"
    names = {text(resource["Properties"]["Name"], template) for resource in found.values()}
    if names != {"sluice/dev/database", "sluice/dev/tokens"}:
        yield f"the secrets are called {sorted(names)}"
    if not properties(template, "Key").get("EnableKeyRotation"):
        yield "the key is never rotated"


def database(template: dict) -> Iterator[str]:
    own = properties(template, "Database")
    wanted = {
        "Engine": "postgres",
        "StorageEncrypted": True,
        "PubliclyAccessible": False,
        "DeletionProtection": True,
        "EnableIAMDatabaseAuthentication": True,
        "EnablePerformanceInsights": True,
        "EnableCloudwatchLogsExports": ["postgresql", "upgrade"],
        "VPCSecurityGroups": [{"Fn::GetAtt": ["DatabaseSecurityGroup", "GroupId"]}],
        "DBParameterGroupName": {"Ref": "DatabaseParameters"},
    }
    yield from (f"the database: {key} is {own.get(key)}" for key in wanted if own.get(key) != wanted[key])
    if int(text(own["EngineVersion"], template).split(".")[0]) < 17:
        yield "the database is older than PostgreSQL 17"
    if own.get("BackupRetentionPeriod", 0) < 7:
        yield "the database is hardly backed up"
    if "resolve:secretsmanager" not in json.dumps(own["MasterUserPassword"]):
        yield "the database's password is not in Secrets Manager"
    if properties(template, "DatabaseParameters").get("Parameters", {}).get("rds.force_ssl") != "1":
        yield "the database can be reached without TLS"
    incoming = list(properties(template, "DatabaseSecurityGroup").get("SecurityGroupIngress", []))
    incoming += [r["Properties"] for r in resources(template, "AWS::EC2::SecurityGroupIngress").values()]
    for rule in incoming:
        who = text(rule.get("SourceSecurityGroupId", "anybody"), template)
        if who not in ("<FunctionsSecurityGroup.GroupId>", "<DatabaseSecurityGroup.GroupId>"):
            yield f"the database lets {who} in"
        if (rule["FromPort"], rule["ToPort"]) != (5432, 5432):
            yield f"the database lets {who} in by {rule['FromPort']} to {rule['ToPort']}"
    if properties(template, "FunctionsSecurityGroup").get("SecurityGroupIngress"):
        yield "something may call the functions over the network"
    if properties(template, "DatabaseProxy").get("RequireTLS") is not True:
        yield "the proxy can be reached without TLS"
    for name, resource in template["Resources"].items():
        optional = resource["Type"].startswith(("AWS::RDS::", "AWS::EC2::"))
        if optional and resource.get("Condition") not in ("MakesDatabase", "MakesProxy"):
            yield f"{name} is made unasked"


# --- replication -----------------------------------------------------------------------------

# what docs/change-data-capture.md takes for granted
_WRITES = ("ControlDetails", "NullAndEmpty", "PartitionValue", "TableAlterOperations", "TransactionDetails")
_SOURCE = {
    "EngineName": "postgres",
    "EndpointType": "source",
    "SslMode": "require",
    "KmsKeyId": {"Fn::GetAtt": ["Key", "Arn"]},
    "PostgreSqlSettings": {
        "SecretsManagerSecretId": {"Ref": "ReplicationSecretArn"},
        "SecretsManagerAccessRoleArn": {"Fn::GetAtt": ["ReplicationSecretRole", "Arn"]},
        "MapBooleanAsBoolean": True,
        "FailTasksOnLobTruncation": True,
    },
}
_TARGET = {
    "EngineName": "kinesis",
    "EndpointType": "target",
    "KmsKeyId": {"Fn::GetAtt": ["Key", "Arn"]},
    "KinesisSettings": {
        "StreamArn": {"Fn::GetAtt": ["ChangeStream", "Arn"]},
        "ServiceAccessRoleArn": {"Fn::GetAtt": ["ReplicationStreamRole", "Arn"]},
        "MessageFormat": "json",
        "PartitionIncludeSchemaTable": True,
        **{f"Include{what}": True for what in _WRITES},
    },
}
_REPLICATION = {
    "ReplicationType": "full-load-and-cdc",
    "SourceEndpointArn": {"Ref": "ReplicationSource"},
    "TargetEndpointArn": {"Ref": "ReplicationTarget"},
    "TableMappings": {"Ref": "ReplicationTableMappings"},
}


def replication(template: dict) -> Iterator[str]:
    """DMS reads over TLS, as the secret says, and writes into our stream what apply_changes reads."""
    wanted = {"ReplicationSource": _SOURCE, "ReplicationTarget": _TARGET, "ReplicationConfig": _REPLICATION}
    for name, expected in wanted.items():
        own = properties(template, name)
        yield from (f"{name}: {key} is {own.get(key)}" for key in expected if own.get(key) != expected[key])
        yield from (f"{name}: {key} belongs into the secret" for key in ("Username", "Password") if key in own)
    own = properties(template, "ReplicationConfig")
    before = own.get("ReplicationSettings", {}).get("BeforeImageSettings", {})
    if before != {"EnableBeforeImage": True, "FieldName": "before-image", "ColumnFilter": "pk-only"}:
        yield "a changed key comes without the old one"
    compute = own.get("ComputeConfig", {})
    if compute.get("KmsKeyId") != {"Fn::GetAtt": ["Key", "Arn"]}:
        yield "what the replication keeps is not encrypted with our key"
    if compute.get("ReplicationSubnetGroupId") != {"Ref": "ReplicationSubnets"}:
        yield "the replication is not in the stage's subnets"
    if properties(template, "ReplicationSubnets").get("SubnetIds") != {"Fn::Split": [",", {"Ref": "SubnetIds"}]}:
        yield "the replication's subnets are not the stage's"
    yield from _replication_roles(template)
    for name, resource in template["Resources"].items():
        if resource["Type"].startswith("AWS::DMS::") and resource.get("Condition") != "Replicates":
            yield f"{name} is made unasked"


def _replication_roles(template: dict) -> Iterator[str]:
    stream = text(own_roles.VALUES["ChangeStreamArn"], template)
    rights = {
        "ReplicationSecretRole": {
            ("secretsmanager:GetSecretValue", text({"Ref": "ReplicationSecretArn"}, template)),
            ("kms:Decrypt", "<Key.Arn>"),
            ("kms:DescribeKey", "<Key.Arn>"),
        },
        "ReplicationStreamRole": {
            *((f"kinesis:{do}", stream) for do in ("DescribeStream", "PutRecord", "PutRecords")),
            ("kms:GenerateDataKey", "<Key.Arn>"),
        },
    }
    # the secret is read by DMS of the region (https://docs.aws.amazon.com/dms/latest/userguide/security_iam_secretsmanager.html)
    services = {
        "ReplicationSecretRole": {"Fn::Sub": "dms.${AWS::Region}.${AWS::URLSuffix}"},
        "ReplicationStreamRole": "dms.amazonaws.com",
    }
    for role, wanted in rights.items():
        may = {(a, r) for s in inline(template, role) for a in s["Action"] for r in s["Resource"]}
        if may != wanted:
            yield f"{role} may {sorted(may ^ wanted)} more or less"
        trusted = properties(template, role).get("AssumeRolePolicyDocument", {"Statement": [{}]})["Statement"][0]
        if trusted.get("Principal") != {"Service": services[role]}:
            yield f"{role}: DMS may not take it, or another may"
        if "aws:SourceAccount" not in trusted.get("Condition", {}).get("StringEquals", {}):
            yield f"{role}: DMS may take it for any account"
        if template["Resources"].get(role, {}).get("Condition") != "Replicates":
            yield f"{role} is made unasked"


# --- how the API is served -------------------------------------------------------------------


def serving(template: dict) -> Iterator[str]:
    """Its name, by which its metrics go, its limits, its domain and its usage plan."""
    [(api, body)] = [(n, r["Properties"]) for n, r in resources(template, "AWS::ApiGateway::RestApi").items()]
    [(stage, about)] = [(n, r["Properties"]) for n, r in resources(template, "AWS::ApiGateway::Stage").items()]
    if {text(body["Name"], template), text(body["Body"]["info"]["title"], template)} != {"sluice-dev"}:
        yield f"{api}: its metrics go by another name"
    settings, *_ = about.get("MethodSettings") or [{}]
    limits = [settings.get(f"Throttling{what}Limit") for what in ("Rate", "Burst")]
    if limits != [{"Ref": "ApiRate"}, {"Ref": "ApiBurst"}] or settings.get("ResourcePath") != "/*":
        yield f"{stage}: does not limit all methods as the parameters say"
    domain, mapping = properties(template, "ApiDomainName"), properties(template, "ApiDomainMapping")
    if domain.get("SecurityPolicy") != "TLS_1_2" or domain.get("EndpointConfiguration") != {"Types": ["REGIONAL"]}:
        yield "ApiDomainName: takes old TLS, or its certificate is in another region"
    if domain.get("RegionalCertificateArn") != {"Ref": "ApiCertificateArn"}:
        yield "ApiDomainName: has another certificate"
    leads = {"DomainName": {"Ref": "ApiDomainName"}, "RestApiId": {"Ref": api}, "Stage": {"Ref": stage}}
    if mapping != leads:
        yield "ApiDomainMapping: does not lead to the API's stage"
    plan = properties(template, "ApiUsagePlan")
    if plan.get("ApiStages") != [{"ApiId": {"Ref": api}, "Stage": {"Ref": stage}}]:
        yield "ApiUsagePlan: is about another stage"
    if plan.get("Quota") != {"Limit": {"Ref": "ApiQuota"}, "Period": "DAY"}:
        yield "ApiUsagePlan: does not count by the day"
    for name in ("ApiDomainName", "ApiDomainMapping", "ApiUsagePlan"):
        wanted = "AsksForApiKeys" if name == "ApiUsagePlan" else "HasApiDomain"
        if template["Resources"].get(name, {}).get("Condition") != wanted:
            yield f"{name} is made unasked"


# --- names and sizes -------------------------------------------------------------------------

_NAMES = ("BucketName", "TopicName", "QueueName", "RoleName", "StateMachineName", "FunctionName", "AlarmName")
_NAMES += ("DashboardName", "LogGroupName", "LayerName", "DBInstanceIdentifier", "DBProxyName", "AliasName", "Name")
_NAMES += ("UsagePlanName",)
_NAMES += ("EndpointIdentifier", "ReplicationConfigIdentifier", "ReplicationSubnetGroupIdentifier")


def names(template: dict) -> Iterator[str]:
    """Every name tells app and stage, so that two stages get along in one account, and no two are the same."""
    seen = set()
    for logical_id, resource in template["Resources"].items():
        own = resource.get("Properties", {})
        if resource["Type"] in (
            "AWS::RDS::DBProxyTargetGroup",
            "AWS::Lambda::Alias",
            "AWS::Lambda::EventSourceMapping",
            "AWS::Lambda::Permission",
            "AWS::Lambda::Version",
        ):
            continue  # they go by another's name
        for key in set(_NAMES) & set(own):
            value = own[key]["Fn::If"][2] if "Fn::If" in own[key] else own[key]
            name = text(value, template)
            if logical_id.endswith("LogGroup"):
                name = name.replace(f"<{logical_id.removesuffix('LogGroup')}>", "sluice-dev-function")
            elif (resource["Type"], name) in seen:
                yield f"{logical_id}: there are two {name}"
            if not re.search(r"(^|/)sluice[-/]dev($|[-/])", name):
                yield f"{logical_id} is called {name}"
            seen.add((resource["Type"], name))


def sizes(template: dict) -> Iterator[str]:
    """https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html"""
    for what, count, most in (
        ("resources", len(template["Resources"]), 500),
        ("parameters", len(template["Parameters"]), 200),
        ("outputs", len(template["Outputs"]), 200),
        ("bytes", len(json.dumps(template, ensure_ascii=False).encode()), 1_000_000),
    ):
        if count > most:
            yield f"the template has {count} {what}, CloudFormation takes {most}"


def parameters(template: dict) -> Iterator[str]:
    for name, parameter in template["Parameters"].items():
        if not parameter.get("Description", "").endswith("."):
            yield f"{name} is not described"
        default = parameter.get("Default")
        if default is None:
            yield f"{name} has no default"
        if "AllowedPattern" in parameter and not re.fullmatch(parameter["AllowedPattern"], str(default)):
            yield f"{name}: its default {default} is not allowed"
        if "AllowedValues" in parameter and default not in parameter["AllowedValues"]:
            yield f"{name}: its default {default} is not allowed"
        if not {"AllowedPattern", "AllowedValues", "MinValue"} & set(parameter) and name != "DatabaseHost":
            yield f"{name} takes anything"
        users = json.dumps([template["Resources"], template["Conditions"]])
        if f'"{name}"' not in users and f"${{{name}}}" not in users:
            yield f"{name} is not used"
