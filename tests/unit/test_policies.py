"""Least privilege: every function's policy is what its code calls, the machine's what its states ask for.

Each check is a function that returns what is wrong; each is shown to find a fault that was put in.
"""

import copy
import json
import re

import pytest
from call_graph import ROOT, Project

from chalicelib import settings
from chalicelib.api import table
from chalicelib.lake import keys
from deploy import roles
from local import iam
from local.iam import Place
from statemachine import render

FOLDER = ROOT / "statemachine" / "policies"
FUNCTIONS = render.lambda_functions()
# beside the functions: the state machine, its schedules, and what is attached only where it is configured
OTHERS = {"state_machine", "scheduler", "vpc", "read_bucket", "container", "container_execution", "run_containers"}
OF_A_CHUNK = (keys.ROWS, keys.OBSERVED, keys.MALFORMED, keys.FAILING, keys.RESULTS, keys.FAILURE)
# what DMS does, of which no code of ours knows
OTHERS |= {"replication_secret", "replication_stream"}

# what stands for an address that is known only when it is deployed
NAMES = {
    "Partition": "aws",
    "Region": "eu-west-1",
    "Account": "123456789012",
    "Prefix": "sluice-dev",
    "BucketArn": "arn:aws:s3:::lake",
    "ReadBucketArn": "arn:aws:s3:::theirs",
    "ChangeStreamArn": "arn:aws:kinesis:eu-west-1:123456789012:stream/sluice-dev-changes",
    "DatabaseSecretArn": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:sluice/dev/database-AbCdEf",
    "ReplicationSecretArn": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop-AbCdEf",
    "TokensSecretArn": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:sluice/dev/tokens-AbCdEf",
    "AlertsTopicArn": "arn:aws:sns:eu-west-1:123456789012:sluice-dev-alerts",
    "DeadLetterArn": "arn:aws:sqs:eu-west-1:123456789012:sluice-dev-dead-letters",
    "TriggersArn": "arn:aws:sqs:eu-west-1:123456789012:sluice-dev-triggers",
    "WebhookEventsArn": "arn:aws:sqs:eu-west-1:123456789012:sluice-dev-webhook-events",
    "UndeliveredArn": "arn:aws:sqs:eu-west-1:123456789012:sluice-dev-undelivered",
    "KeyArn": "arn:aws:kms:eu-west-1:123456789012:key/0",
    "StateMachineArn": "arn:aws:states:eu-west-1:123456789012:stateMachine:sluice-dev",
    "ExecutionsArn": "arn:aws:states:eu-west-1:123456789012:execution:sluice-dev:*",
    "LogGroupArn": "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/lambda/sluice-dev-fn",
    "EmbeddingModelArn": "arn:aws:bedrock:eu-west-1::foundation-model/amazon.titan-embed-text-v2:0",
    **{
        render.placeholder(function): f"arn:aws:lambda:eu-west-1:123456789012:function:sluice-dev-{function}"
        for function in FUNCTIONS
    },
}
PLACE = Place(region=NAMES["Region"], account=NAMES["Account"], key=NAMES["KeyArn"])

# Actions for which AWS offers nothing narrower than `*`: their rows have no resource type in
# https://docs.aws.amazon.com/service-authorization/latest/reference/ (list_awsx-ray.html, list_amazonec2.html),
# and for delivering logs https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html#cloudwatch-iam-policy
ONLY_ANY_RESOURCE = {
    "xray:PutTraceSegments",
    "xray:PutTelemetryRecords",
    "xray:GetSamplingRules",
    "xray:GetSamplingTargets",
    "logs:CreateLogDelivery",
    "logs:GetLogDelivery",
    "logs:UpdateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:DescribeResourcePolicies",
    "logs:DescribeLogGroups",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ecr:GetAuthorizationToken",
}
# what Lambda itself does in a function's name: its log stream, its traces; no code of ours calls it
LAMBDAS_OWN = {"logs:CreateLogStream", "logs:PutLogEvents", "xray:PutTraceSegments", "xray:PutTelemetryRecords"}

# what Lambda's pollers do in the name of a function that a mapping feeds
# (https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html#events-sqs-permissions,
# https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-create.html#events-kinesis-permissions)
OF_QUEUES = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}
OF_STREAMS = {
    f"kinesis:{action}"
    for action in ("DescribeStream", "DescribeStreamSummary", "GetRecords", "GetShardIterator", "ListShards")
}
POLLERS = OF_QUEUES | OF_STREAMS
OF_POLLERS = "kinesis.${Region}.amazonaws.com"  # through which they decrypt; a queue's key is a sender's too

# where the function behind the routes begins; the others are handlers of `app.py`
START = {"api_handler": ("chalicelib.api.routes.blueprint", *(route.handler for route in table.ROUTES))}

# a source may ask for its token while it fetches (docs/sources.md), though none of ours does
MAY_BE_CALLED = {name: {"chalicelib.secrets.token"} for name in ("fetch_partition", "chalicelib.container.main")}

# the arguments of an operation that `needs` looks at; only the action counts here
ARGUMENTS = {
    "Bucket": "lake",
    "Key": "k",
    "Prefix": "p",
    "SecretId": NAMES["DatabaseSecretArn"],
    "modelId": "amazon.titan-embed-text-v2:0",
    "executionArn": NAMES["ExecutionsArn"],
    "stateMachineArn": NAMES["StateMachineArn"],
    "mapRunArn": "arn:aws:states:eu-west-1:123456789012:mapRun:sluice-dev/process:0",
    "logGroupName": "/aws/lambda/sluice-dev-plan",
    "QueueUrl": "https://sqs.eu-west-1.amazonaws.com/123456789012/sluice-dev-undelivered",
    "TopicArn": NAMES["AlertsTopicArn"],
}


def raw(name):
    return json.loads((FOLDER / f"{name}.json").read_text())


def filled(document):
    """The policy with its placeholders filled in; KeyError for one that nobody knows."""
    return json.loads(re.sub(r"\$\{(\w+)\}", lambda found: NAMES[found[1]], json.dumps(document)))


@pytest.fixture(scope="module")
def project():
    return Project()


def policies():
    return pytest.mark.parametrize("name", sorted({*FUNCTIONS, *OTHERS}))


# --- form ------------------------------------------------------------------------------------


def test_every_function_has_its_policy_and_every_policy_its_function():
    assert {path.stem for path in FOLDER.iterdir()} == {*FUNCTIONS, *OTHERS}


def faults_of_form(name, document):
    found = []
    try:
        iam.check(filled(document))
    except (iam.PolicyError, KeyError) as error:
        return [f"{name}: {error!r}"]
    for statement in document["Statement"]:
        sid = f"{name} {statement['Sid']}"
        for part in ("Action", "Resource"):
            if len(statement[part]) != len(set(statement[part])):
                found.append(f"{sid}: {part} says something twice")
        if statement["Action"] != sorted(statement["Action"]):
            found.append(f"{sid}: actions are not in order")
        if statement["Effect"] != "Allow" and name != "vpc":
            found.append(f"{sid}: only the VPC's policy denies")
        found += [
            f"{sid}: {action} stands for more than one" for action in statement["Action"] if set("*?") & set(action)
        ]
        for resource in statement["Resource"] if statement["Effect"] == "Allow" else ():
            if resource == "*":
                found += [
                    f"{sid}: {action} could be granted on less than *"
                    for action in statement["Action"]
                    if action not in ONLY_ANY_RESOURCE
                ]
            elif set("*?") & set("".join(filled(resource).split(":")[:5])):
                found.append(f"{sid}: {resource} is not of one service, region and account")
    return found


@policies()
def test_a_policy_names_its_actions_and_its_resources(name):
    assert not faults_of_form(name, raw(name))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"Action": ["s3:*"]}, "stands for more than one"),
        ({"Action": ["s3:Get*"]}, "stands for more than one"),
        ({"Action": ["*"]}, "no action of one service"),
        ({"Resource": ["*"]}, "less than *"),
        ({"Resource": ["arn:aws:s3:::*"]}, None),  # a bucket's name is the resource itself
        ({"Resource": ["arn:aws:lambda:*:123456789012:function:x"]}, "one service, region and account"),
        ({"Resource": ["${Bucket}/inbox/*"]}, "KeyError"),
        ({"Effect": "Deny"}, "only the VPC's"),
        ({"Action": ["s3:PutObject", "s3:GetObject"]}, "not in order"),
        ({"Action": ["s3:GetObject", "s3:GetObject"]}, "twice"),
        ({"Sid": "UseKeyOfLake"}, "Sid used twice"),
        ({"Sid": "Read it"}, "letters and digits"),
        ({"NotAction": ["s3:GetObject"]}, "NotAction"),
    ],
)
def test_a_fault_of_form_is_found(change, expected):
    document = raw("plan")
    document["Statement"][0].update(change)
    found = faults_of_form("plan", document)
    assert any(expected in fault for fault in found) if expected else not found


# --- functions -------------------------------------------------------------------------------


def needed(project, function):
    """Actions, keys' with the service they go through, secrets' with the secret."""
    starts = START.get(function, (function if "." in function else f"app.{function}",))
    extensions = MAY_BE_CALLED.get(function, set())
    reachable = extensions.union(*map(project.reachable, starts))
    secrets = {
        name
        for name, reader in (
            ("Database", "database_url"),
            ("Tokens", "token"),
            ("Tokens", "of_webhook"),
            ("Tokens", "reader_database_url"),
        )
        if f"chalicelib.secrets.{reader}" in reachable
    }
    calls = set().union(*map(project.calls, {*starts, *extensions}))
    found = set()
    for service, operation in calls:
        for need in iam.needs(service, operation, ARGUMENTS, PLACE):
            if need.action == "secretsmanager:GetSecretValue":
                found |= {f"{need.action} {secret}" for secret in secrets}
            else:
                found.add(" ".join([need.action, *(need.context.values() if "kms" in need.action else ())]))
    if "s3:GetObject" in found:  # else S3 does not say that an object is missing: chalicelib/lake/store.py
        found.add("s3:ListBucket")
    # what Lambda receives in the function's name is encrypted
    return found | ({f"kms:Decrypt sqs.{NAMES['Region']}.amazonaws.com"} if reads_a_queue(function) else set())


def reads_a_queue(function):
    resources = json.loads((ROOT / "statemachine" / "resources.json").read_text())["Resources"]
    return any(
        resources[each["Properties"]["EventSourceArn"]["Fn::GetAtt"][0]]["Type"] == "AWS::SQS::Queue"
        for each in resources.values()
        if each["Type"] == "AWS::Lambda::EventSourceMapping"
        and each["Properties"]["FunctionName"]["Fn::GetAtt"][0] == roles.logical_id(function)
    )


def granted(document):
    """The same of a policy, without what Lambda does itself."""
    found = set()
    for statement in document["Statement"]:
        for action in set(statement["Action"]) - LAMBDAS_OWN - POLLERS:
            if action == "secretsmanager:GetSecretValue":
                found |= {f"{action} {name[2:].partition('Secret')[0]}" for name in statement["Resource"]}
            elif action.startswith("kms:"):
                services = set(statement["Condition"]["StringEquals"]["kms:ViaService"]) - {OF_POLLERS}
                found |= {f"{action} {service.replace('${Region}', NAMES['Region'])}" for service in services}
            else:
                found.add(action)
    return found


def faults_of_actions(project, function, document):
    wanted, given = needed(project, function), granted(document)
    return [f"{function} may call {action}" for action in sorted(wanted - given)] + [
        f"{function} never calls {action}" for action in sorted(given - wanted)
    ]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_may_do_what_its_code_calls_and_nothing_else(project, function):
    assert not faults_of_actions(project, function, raw(function))


def test_a_container_may_do_what_its_entry_point_calls_and_nothing_else(project):
    assert not faults_of_actions(project, "chalicelib.container.main", raw("container"))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_any_permission_that_is_taken_away_or_added_is_found(project, function):
    document = raw(function)
    for number, statement in enumerate(document["Statement"]):
        for action in set(statement["Action"]) - LAMBDAS_OWN - POLLERS:
            less = copy.deepcopy(document)
            less["Statement"][number]["Action"].remove(action)
            # two statements may grant the same action on different resources: those are the feature test's
            if granted(less) != granted(document):
                assert any("may call" in fault for fault in faults_of_actions(project, function, less)), action
    for action in ("s3:DeleteBucket", "s3:PutBucketPolicy", "sns:CreateTopic", "iam:PassRole"):
        more = copy.deepcopy(document)
        more["Statement"][0]["Action"].append(action)
        assert f"{function} never calls {action}" in faults_of_actions(project, function, more)


def test_only_who_connects_to_postgres_gets_its_secret():
    holders = {name for name in FUNCTIONS if "secretsmanager:GetSecretValue Database" in granted(raw(name))}
    assert set(FUNCTIONS) - holders == {
        "fetch_partition",
        "transform",
        "validate",
        "record_chunk_failure",
        "collect_events",
        "simulate_sensors",
    }


def test_only_who_embeds_texts_and_questions_may_call_the_model():
    holders = {name for name in FUNCTIONS if "bedrock:InvokeModel" in granted(raw(name))}
    assert holders == {"embed_shard", "api_handler"}


def test_the_model_that_is_granted_is_the_one_that_is_called_and_names_mean_the_same_when_deployed():
    granted_model = roles.VALUES["EmbeddingModelArn"]["Fn::Sub"]
    assert granted_model.endswith(f"::foundation-model/{settings.load({}).bedrock_model}")
    per_function, per_bucket = {"LogGroupArn"}, {"ReadBucketArn"}
    invoked = {render.placeholder(function) for function in FUNCTIONS}
    assert set(NAMES) == set(roles.VALUES) | per_function | per_bucket | invoked


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_writes_its_own_log_and_sends_traces(function):
    statements = [s for s in raw(function)["Statement"] if set(s["Action"]) & LAMBDAS_OWN]
    assert [s["Resource"] for s in statements] == [["${LogGroupArn}:*"], ["*"]]
    assert {action for s in statements for action in s["Action"]} == LAMBDAS_OWN


@pytest.mark.parametrize("function", [*FUNCTIONS, "container"])
def test_an_objects_pattern_is_of_keys_that_the_lake_has(function):
    made = [
        keys.raw("weather", "2026-01-01", "run", 1, 2, "csv"),
        keys.listing("run", 1),
        keys.working_copy("run", 1, 2, "ndjson"),
        keys.declaration("run"),
        keys.schema("run"),
        keys.manifest("run"),
        keys.partitions("run"),
        keys.replayed_objects("run"),
        keys.replayed_rows("run"),
        keys.container("run", "chunk", 1),
        *(keys.chunk("run", 1, name) for name in OF_A_CHUNK),
        "cdc/schema=public/table=orders/date=2026-01-01/hour=00/shardId-000000000000-000000000001.parquet",
        *(keys.report("run", suffix) for suffix in ("html", "json")),
        keys.webhook("orders", "delivery"),
        keys.collection("orders", "delivery"),
        # what users put there, webhooks, and sensors
        *(inbox := ["inbox/orders.csv", keys.collected("orders", "digest"), keys.readings("2026-01-01", "1305")]),
    ]
    for statement in raw(function)["Statement"]:
        for resource in statement["Resource"]:
            if resource.startswith("${BucketArn}/"):
                pattern = resource.removeprefix("${BucketArn}/")
                found = [key for key in made if iam.matches(pattern, key)]
                assert len(found) == 1 or found == inbox, f"{function}: {pattern}"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_who_builds_its_source_from_the_runs_declaration_may_read_that(project, function):
    reads = any(
        statement["Action"] == ["s3:GetObject"] and "${BucketArn}/" + keys.declaration("*") in statement["Resource"]
        for statement in raw(function)["Statement"]
    )
    reachable = set().union(*map(project.reachable, START.get(function, (f"app.{function}",))))
    assert reads == ("chalicelib.lake.keys.declaration" in reachable)


def objects(name, action):
    """The patterns of objects on which a policy grants the action."""
    return {
        resource
        for statement in raw(name)["Statement"]
        if action in statement["Action"]
        for resource in statement["Resource"]
        if resource.startswith("${BucketArn}/")
    }


@pytest.mark.parametrize("action", ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"])
@pytest.mark.parametrize("function", ["fetch_partition", "transform", "validate", "load"])
def test_a_container_may_read_and_write_the_objects_of_the_functions_it_stands_for(function, action):
    assert not objects(function, action) - objects("container", action)


def test_every_call_names_its_service(project):
    assert {service for service, _ in iam.known()} == project.services()


def test_a_call_that_is_added_to_a_stage_is_found(tmp_path):
    """The graph sees a call in a method, behind a subclass, a property, a nested function, a lazy import."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "store.py").write_text(
        "import boto3\n"
        "class Base:\n    def act(self): ...\n"
        "class Below(Base):\n    def act(self):\n        boto3.client('s3').delete_object()\n"
        "class Held:\n"
        "    def __init__(self, base: Base):\n        self.base = base\n"
        "    @property\n    def listed(self):\n        return boto3.client('s3').get_paginator('list_objects_v2')\n"
        "    def get(self):\n        boto3.client('s3').get_object()\n"
    )
    bodies = {
        "subclass": "held.base.act()",
        "property": "held.listed",
        "common_name": "held.get()",
        "assigned": "mine = held\n    mine.get()",
        "nested": "def inner():\n        return held.get()\n    return inner",
        "value": "run(held.get)",
        "of_a_dict": "{}.get(held)",
    }
    (tmp_path / "app.py").write_text(
        "from lib.store import Held\n"
        + "".join(f"def {name}(held: Held):\n    {body}\n" for name, body in bodies.items())
        + "def lazy(x):\n    from lib.store import Below as it\n    it().act()\n"
    )
    project = Project(tmp_path, ("lib",))
    assert {name: sorted(o for _, o in project.calls(f"app.{name}")) for name in [*bodies, "lazy"]} == {
        "subclass": ["DeleteObject"],
        "property": ["ListObjectsV2"],
        "common_name": ["GetObject"],
        "assigned": ["GetObject"],
        "nested": ["GetObject"],
        "value": ["GetObject"],
        "of_a_dict": [],
        "lazy": ["DeleteObject"],
    }


# --- the state machine -----------------------------------------------------------------------

# of a Task's resource: the action and the parameter that names what it is done on
INTEGRATIONS = {
    "arn:aws:states:::lambda:invoke": ("lambda:InvokeFunction", "FunctionName"),
    "arn:aws:states:::sns:publish": ("sns:Publish", "TopicArn"),
    "arn:aws:states:::sqs:sendMessage": ("sqs:SendMessage", "QueueUrl"),
}
# https://docs.aws.amazon.com/step-functions/latest/dg/connect-ecs.html#ecs-iam
RUN_TASK = "arn:aws:states:::ecs:runTask.sync"
_HERE = "${Region}:${Account}"
_RULE = f"arn:${{Partition}}:events:{_HERE}:rule/StepFunctionsGetEventsForECSTaskRule"
CONTAINERS = {
    ("ecs:RunTask", f"arn:${{Partition}}:ecs:{_HERE}:task-definition/${{Prefix}}-stages:*"),
    *(
        (f"ecs:{do}Task{s}", f"arn:${{Partition}}:ecs:{_HERE}:task/${{Prefix}}/*")
        for do, s in (("Stop", ""), ("Describe", "s"))
    ),
    *(
        ("iam:PassRole", f"arn:${{Partition}}:iam::${{Account}}:role/${{Prefix}}-{role}")
        for role in ("container", "container-execution")
    ),
    *((f"events:{do}", _RULE) for do in ("DescribeRule", "PutRule", "PutTargets")),
}
# a queue is addressed by URL and granted by ARN
GRANTED_AS = {"${DeadLetterUrl}": "${DeadLetterArn}"}
MANIFEST = "${BucketArn}/" + keys.manifest("*")
OUTCOMES = "${BucketArn}/runs/*/map/*"
WRITER = ("s3:PutObject", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:AbortMultipartUpload")


def machine_needs(machine):
    """(action, resource) of every state.

    https://docs.aws.amazon.com/step-functions/latest/dg/service-integration-iam-templates.html
    """
    found = set()
    for state in machine["States"].values():
        if state["Type"] == "Task":
            if state["Resource"] == RUN_TASK:
                found |= CONTAINERS
                continue
            action, parameter = INTEGRATIONS[state["Resource"]]
            name = state["Parameters"][parameter]
            found.add((action, GRANTED_AS.get(name, name)))
        if "ItemReader" in state:
            found.add(("s3:GetObject", MANIFEST))
        if "ResultWriter" in state:
            found |= {(action, OUTCOMES) for action in WRITER}
        inner = state.get("ItemProcessor")
        if inner:
            found |= machine_needs(inner)
            if inner["ProcessorConfig"]["Mode"] == "DISTRIBUTED":
                # https://docs.aws.amazon.com/step-functions/latest/dg/iam-policies-eg-dist-map.html; a child is
                # called after the state's Label
                children = "arn:${Partition}:states:${Region}:${Account}:execution:${Prefix}/" + state["Label"] + ":*"
                found.add(("states:StartExecution", "${StateMachineArn}"))
                for action in ("states:DescribeExecution", "states:StopExecution"):
                    found |= {(action, "${ExecutionsArn}"), (action, children)}
    return found


def machine_policy():
    """What it may do always, and what only where there are containers."""
    return {"Statement": [*raw("state_machine")["Statement"], *raw("run_containers")["Statement"]]}


def faults_of_machine(machine, document):
    # tracing, logging, and what is encrypted: held by `machine_role` of stack_checks.py
    own = {"SendTraces", "DeliverLogs", "UseKey"}
    given = {
        (action, resource)
        for statement in document["Statement"]
        if statement["Sid"] not in own
        for action in statement["Action"]
        for resource in statement["Resource"]
    }
    wanted = machine_needs(machine)
    return [f"is missing: {action} on {resource}" for action, resource in sorted(wanted - given)] + [
        f"is of no use: {action} on {resource}" for action, resource in sorted(given - wanted)
    ]


def test_the_machine_may_do_what_its_states_ask_for_and_nothing_else():
    assert not faults_of_machine(render.definition(), machine_policy())


def test_a_state_that_is_added_or_goes_away_is_found():
    machine = render.definition()
    machine["States"]["More"] = {
        "Type": "Task",
        "Resource": "arn:aws:states:::sns:publish",
        "Parameters": {"TopicArn": "arn:aws:sns:eu-west-1:123456789012:other"},
    }
    del machine["States"]["Complete"]
    assert faults_of_machine(machine, machine_policy()) == [
        "is missing: sns:Publish on arn:aws:sns:eu-west-1:123456789012:other",
        "is of no use: lambda:InvokeFunction on ${CompleteArn}",
    ]


def test_the_manifest_that_the_machine_reads_is_the_one_that_write_manifest_may_write():
    name = raw("state_machine")["Statement"][1]["Resource"][0]
    assert any(name in statement["Resource"] for statement in raw("write_manifest")["Statement"])
    assert iam.matches(name, "${BucketArn}/" + keys.manifest("orders-1"))


def test_the_machine_writes_outcomes_where_its_policy_says():
    prefix = render.definition()["States"]["Process"]["ResultWriter"]["Parameters"]["Prefix.$"]
    assert prefix == "States.Format('runs/{}/map', $$.Execution.Name)"
    assert iam.matches(OUTCOMES, "${BucketArn}/runs/orders-1/map/0b1c/manifest.json")


def test_a_schedule_may_send_triggers_and_keep_what_could_not_be_sent():
    allowed = [(s["Action"], s["Resource"]) for s in raw("scheduler")["Statement"]]
    assert allowed[:2] == [
        (["sqs:SendMessage"], ["${TriggersArn}"]),
        (["sqs:SendMessage"], ["${UndeliveredArn}"]),
    ]


@pytest.mark.parametrize(("kind", "actions"), [("AWS::SQS::Queue", OF_QUEUES), ("AWS::Kinesis::Stream", OF_STREAMS)])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_who_may_receive_messages_is_fed_by_a_mapping(function, kind, actions):
    resources = json.loads((ROOT / "statemachine" / "resources.json").read_text())["Resources"]
    fed = {
        resource["Properties"]["FunctionName"]["Fn::GetAtt"][0]
        for resource in resources.values()
        if resource["Type"] == "AWS::Lambda::EventSourceMapping"
        and resources[resource["Properties"]["EventSourceArn"]["Fn::GetAtt"][0]]["Type"] == kind
    }
    given = {action for s in raw(function)["Statement"] for action in s["Action"]} & actions
    assert given == (actions if render.placeholder(function).removesuffix("Arn") in fed else set())


# --- where it is configured ------------------------------------------------------------------


def test_lambda_may_attach_functions_to_a_vpc_and_their_code_may_not():
    """https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html#configuration-vpc-permissions"""
    document = filled(raw("vpc"))
    ours = {"lambda:SourceFunctionArn": NAMES["PlanArn"]}
    for action in (
        "ec2:CreateNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSubnets",
        "ec2:DeleteNetworkInterface",
        "ec2:AssignPrivateIpAddresses",
        "ec2:UnassignPrivateIpAddresses",
    ):
        target = "arn:aws:ec2:eu-west-1:123456789012:network-interface/*"
        assert iam.allows(document, action, target), action
        assert not iam.allows(document, action, target, ours), f"{action} from the function's code"


def test_another_bucket_is_read_only_where_it_is_configured():
    plan, more = filled(raw("plan")), filled(raw("read_bucket"))
    theirs = {"Bucket": "theirs", "Key": "a.csv", "Prefix": "a"}
    for operation in ("GetObject", "ListObjectsV2"):
        assert iam.refused(plan, "s3", operation, theirs)
        assert iam.refused([plan, more], "s3", operation, theirs) is None
    assert iam.refused([plan, more], "s3", "PutObject", theirs)
    assert iam.refused(plan, "s3", "ListObjectsV2", {"Bucket": "lake", "Prefix": "inbox/a"}) is None
