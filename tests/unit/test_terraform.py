"""The Terraform module makes what the CloudFormation template makes, and hangs together by itself."""

import copy
import dataclasses
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import hcl2
import pytest
import terraform_module
import terraform_values
from chalice.config import Config
from click.testing import CliRunner
from terraform_comparison import NOT_IN_TEMPLATE, ONLY_TERRAFORM, identity, policy, translated
from terraform_expressions import ExpressionError
from terraform_values import Values

from cli.build import build
from deploy import artefacts, roles, template, terraform
from deploy import stage as stages
from deploy.intrinsics import Evaluator
from deploy.kinds import apis
from statemachine import render

ROOT = Path(__file__).parents[2]
MODULE = ROOT / "infra" / "terraform"
EXAMPLE = MODULE / "examples" / "pipeline"
STAGE = "dev"

ACCOUNT, PARTITION, REGION = "123456789012", "aws", "eu-west-1"
KNOWN = {
    "data.aws_caller_identity.current": {"account_id": ACCOUNT},
    "data.aws_partition.current": {"partition": PARTITION, "dns_suffix": "amazonaws.com"},
    "data.aws_region.current": {"region": REGION},
}
PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": PARTITION,
    "AWS::Region": REGION,
    "AWS::URLSuffix": "amazonaws.com",
}

NETWORK = {"subnet_ids": ["subnet-1", "subnet-2"], "security_group_ids": ["sg-1"]}
DATABASE = {
    "vpc_id": "vpc-1",
    "version": "17",
    "instance_class": "db.t4g.medium",
    "gigabytes": 50,
    "multi_zone": True,
    "proxy": True,
}
SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:mine-AbCdEf"
CERTIFICATE = f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/1b2c"
MAPPINGS = json.dumps({"rules": [{"rule-type": "selection", "rule-id": "1", "rule-name": "1", "rule-action": "include",
                                  "object-locator": {"schema-name": "public", "table-name": "orders"}}]})  # fmt: skip
REPLICATION = {
    "secret_arn": SECRET,
    "database": "shop",
    "security_group_ids": ["sg-2"],
    "table_mappings": MAPPINGS,
    "capacity": 8,
}
# the same wish in both languages: variables of the module, parameters of the template
CASES = {
    "as configured": ({}, {}),
    "alerts and a secret of one's own": (
        {"alert_emails": frozenset({"data@example.com"}), "database_secret_arn": SECRET},
        {"DatabaseSecretArn": SECRET},
    ),
    "in a VPC": (NETWORK, {"SubnetIds": "subnet-1,subnet-2", "SecurityGroupIds": "sg-1"}),
    "with a database and a proxy": (
        {"subnet_ids": NETWORK["subnet_ids"], "database": DATABASE},
        {"SubnetIds": "subnet-1,subnet-2", "VpcId": "vpc-1", "CreateDatabase": "true", "CreateProxy": "true"},
    ),
    "with containers": (
        {**NETWORK, "containers": {"cpu": "4096", "memory": 16384, "image_tag": "7"}},
        {
            "SubnetIds": "subnet-1,subnet-2",
            "SecurityGroupIds": "sg-1",
            "Containers": "true",
            "ContainerCpu": "4096",
            "ContainerMemory": 16384,
            "ContainerImageTag": "7",
        },
    ),
    "with a log of all data and another age": (
        {"log_execution_data": True, "maximum_age_hours": 50},
        {"LogExecutionData": "true", "MaximumAgeHours": 50},
    ),
}


@pytest.fixture(scope="module")
def module():
    return terraform_module.read(MODULE)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """What `sluice build` leaves for Terraform, without the zips."""
    folder = tmp_path_factory.mktemp("build")
    zips = {name: {"file": f"{name}.zip", "sha256": name} for name in ("code", "dependencies", *artefacts.ABOVE)}
    about = {"stage": STAGE, "python": "python3.11", "architecture": "x86_64", **zips}
    (folder / artefacts.MANIFEST).write_text(json.dumps(about))
    terraform.write(ROOT, STAGE, folder / terraform.FILE)
    return folder


def values(module, built, **variables):
    return Values(module, {"stage": STAGE, "artefacts": str(built), **variables}, KNOWN)


# --- the module by itself ----------------------------------------------------------------------


def unresolved(module):
    known = {address.removeprefix("resource.").replace("variable.", "var.", 1) for address in module.blocks} - {
        "terraform"
    }
    return sorted(module.references() - known)


@pytest.mark.parametrize("folder", [MODULE, EXAMPLE], ids=["module", "example"])
def test_every_reference_leads_somewhere(folder):
    assert unresolved(terraform_module.read(folder)) == []


def test_a_reference_that_leads_nowhere_is_found(module):
    broken = copy.copy(module)
    broken.text = module.text + "\nx = aws_sns_topic.alarms.arn + local.nothing + var.nothing + data.aws_x.y.z"
    assert unresolved(broken) == ["aws_sns_topic.alarms", "data.aws_x.y", "local.nothing", "var.nothing"]


@pytest.mark.parametrize("folder", [MODULE, EXAMPLE], ids=["module", "example"])
def test_variables_and_locals_are_used_and_what_is_public_is_described(folder):
    found = terraform_module.read(folder)
    used = found.references()
    assert [name for name in found.of("variable") if f"var.{name}" not in used] == []
    assert [name for name in found.of("local") if f"local.{name}" not in used] == []
    for kind in ("variable", "output"):
        assert [name for name, body in found.of(kind).items() if not body.get("description")] == []
    assert [name for name, body in found.of("variable").items() if "type" not in body] == []


@pytest.mark.parametrize("folder", [MODULE, EXAMPLE], ids=["module", "example"])
def test_versions_are_bounded(folder):
    text = "".join(path.read_text() for path in folder.glob("*.tf"))
    assert re.search(r'required_version = ">= 1\.11, < 2\.0"', text)
    assert re.search(r'version = "~> 6\.0"', text)


def test_the_example_gives_the_module_what_it_needs_and_knows(module):
    example = terraform_module.read(EXAMPLE)
    given = {name for name in example.of("module")["pipeline"] if not name.startswith("__")} - {"source"}
    needed = {name for name, body in module.of("variable").items() if "default" not in body}
    assert needed <= given <= set(module.of("variable"))
    assert (EXAMPLE / json.loads(example.of("module")["pipeline"]["source"])).resolve() == MODULE


def test_the_examples_state_is_remote_encrypted_and_locked():
    blocks = [path for path in EXAMPLE.glob("*.tf")]
    [backend] = [
        block["backend"][0]['"s3"']
        for path in blocks
        for block in hcl2.loads(path.read_text()).get("terraform", [])
        if "backend" in block
    ]
    assert (backend["encrypt"], backend["use_lockfile"]) == (True, True)
    named = (EXAMPLE / "prod.s3.tfbackend.example").read_text()
    assert {"bucket", "key", "region"} == set(re.findall(r"^(\w+)\s*=", named, re.MULTILINE))


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"stage": "local"}, "A stage has at most 16"),
        ({"stage": "Prod"}, "A stage has at most 16"),
        ({"artefacts": "/nowhere"}, "run `sluice build"),
        ({"prefix": "-x"}, "A prefix has"),
        ({"alert_emails": frozenset({"nobody"})}, "goes to an email address"),
        ({"database_secret_arn": "by-name"}, "whole ARN"),
        ({"subnet_ids": ["subnet-1"]}, "belong together"),
        ({"security_group_ids": ["sg-1"]}, "belong together"),
        ({"database": DATABASE}, "needs subnet_ids in two zones"),
        ({**NETWORK, "database": DATABASE}, "belong together"),
        (
            {"subnet_ids": NETWORK["subnet_ids"], "database": DATABASE, "database_secret_arn": SECRET},
            "makes the secret",
        ),
        ({"replication": REPLICATION}, "in two zones"),
        ({**NETWORK, "replication": REPLICATION | {"secret_arn": "shop"}}, "whole ARN"),
        ({**NETWORK, "replication": REPLICATION | {"table_mappings": "public.orders"}}, "a list `rules`"),
        ({"maximum_age_hours": 1}, "2 to 168"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused(module, built, variables, message):
    with pytest.raises(ExpressionError, match=message):
        values(module, built, **variables)


def test_validations_of_variables_do_not_wait_for_each_other(module):
    """Terraform evaluates a validation after those of the variables that it mentions."""
    mentions = {
        name: set(re.findall(r"var\.(\w+)", json.dumps(body.get("validation", [])))) - {name}
        for name, body in module.of("variable").items()
    }
    assert mentions["database"]
    left = dict(mentions)
    while ready := [name for name, others in left.items() if not others & set(left)]:
        for name in ready:
            del left[name]
    assert left == {}


# --- held against the template -----------------------------------------------------------------

# attributes that are known once a resource is made, under the name that the template has for them
MADE = {
    "aws_api_gateway_rest_api.api.id": "<RestAPI>",
    "aws_api_gateway_stage.api.stage_name": "api",
    "aws_api_gateway_domain_name.api[0].domain_name": "sluice.example.org",
    "aws_kms_key.data.arn": "<Key.Arn>",
    "aws_kms_key.data.key_id": "<Key>",
    "aws_s3_bucket.lake.arn": "<Bucket.Arn>",
    "aws_sns_topic.alerts.arn": f"arn:aws:sns:{REGION}:{ACCOUNT}:sluice-dev-alerts",
    "aws_sqs_queue.dead_letters.arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:sluice-dev-dead-letters",
    "aws_sqs_queue.dead_letters.url": "<DeadLetters>",
    **{f"aws_sqs_queue.{n}.arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:sluice-dev-{n}" for n in ("triggers", "undelivered")},
    "aws_sqs_queue.triggers.url": "<Triggers>",
    "aws_sqs_queue.undelivered.url": "<Undelivered>",
    "aws_sqs_queue.webhook_events.url": "<WebhookEvents>",
    "aws_sqs_queue.webhook_events.arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:sluice-dev-webhook-events",
    "aws_kinesis_stream.changes[0].arn": f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/sluice-dev-changes",
    **{
        f"aws_lambda_function.this[{name}].arn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:sluice-dev-{name}"
        for name in render.event_functions()
    },
    "aws_secretsmanager_secret.tokens.arn": "<TokensSecret>",
    "aws_secretsmanager_secret.database[0].arn": "<DatabaseSecret>",
    "aws_iam_role.state_machine.arn": "<StateMachineRole.Arn>",
    "aws_iam_role.database_monitoring[0].arn": "<DatabaseMonitoringRole.Arn>",
    "aws_iam_role.proxy[0].arn": "<ProxyRole.Arn>",
    **{
        f"aws_iam_role.replication_{what.lower()}[0].arn": f"<Replication{what}Role.Arn>"
        for what in ("Secret", "Stream")
    },
    **{f"aws_iam_role.replication_{what}[0].name": f"sluice-dev-replication-{what}" for what in ("secret", "stream")},
    "aws_dms_replication_subnet_group.changes[0].id": "<ReplicationSubnets>",
    "aws_dms_endpoint.source[0].endpoint_arn": "<ReplicationSource>",
    "aws_dms_endpoint.target[0].endpoint_arn": "<ReplicationTarget>",
    "aws_iam_role.container[0].arn": "<ContainerRole.Arn>",
    "aws_iam_role.container_execution[0].arn": "<ContainerExecutionRole.Arn>",
    "aws_db_proxy.database[0].endpoint": "<DatabaseProxy.Endpoint>",
    "aws_security_group.functions[0].id": "<FunctionsSecurityGroup.GroupId>",
    "aws_security_group.database[0].id": "<DatabaseSecurityGroup.GroupId>",
    "aws_db_parameter_group.database[0].name": "<DatabaseParameters>",
    # CloudFormation's attribute has the suffix that Terraform's has not
    "aws_cloudwatch_log_group.state_machine.arn": "<StateMachineLog.Arn>",
    # what has a name of ours, is that name
    "aws_s3_bucket.lake.id": f"sluice-dev-{ACCOUNT}-{REGION}",
    "aws_iam_role.state_machine.name": "sluice-dev-state-machine",
    "aws_iam_role.scheduler.name": "sluice-dev-scheduler",
    "aws_iam_role.database_monitoring[0].name": "sluice-dev-database-monitoring",
    "aws_iam_role.proxy[0].name": "sluice-dev-proxy",
    "aws_iam_role.container[0].name": "sluice-dev-container",
    "aws_iam_role.container_execution[0].name": "sluice-dev-container-execution",
    "aws_scheduler_schedule_group.pipeline.name": "sluice-dev",
    "aws_db_subnet_group.database[0].name": "sluice-dev",
    "aws_db_proxy.database[0].name": "sluice-dev",
    "aws_db_proxy_default_target_group.database[0].name": "default",
    "aws_db_instance.database[0].identifier": "sluice-dev",
    "aws_cloudwatch_dashboard.pipeline.id": "sluice-dev",
    **{f"aws_iam_role.function[{name}].name": f"sluice-dev-{name}" for name in render.lambda_functions()},
    **{
        f"aws_cloudwatch_log_group.function[{name}].arn": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group"
        f":/aws/lambda/{render.full_name('sluice-dev', name)}"
        for name in render.lambda_functions()
    },
}
# the reverse, for what the template refers to by Ref and has a name of ours
NAMED = {
    ("ApiDomainName", None): "sluice.example.org",
    ("Bucket", None): f"sluice-dev-{ACCOUNT}-{REGION}",
    ("StateMachine", None): f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:sluice-dev",
    ("AlertsTopic", None): f"arn:aws:sns:{REGION}:{ACCOUNT}:sluice-dev-alerts",
    ("DeadLetters", "Arn"): f"arn:aws:sqs:{REGION}:{ACCOUNT}:sluice-dev-dead-letters",
    ("DeadLetters", "QueueName"): "sluice-dev-dead-letters",
    ("Triggers", "Arn"): f"arn:aws:sqs:{REGION}:{ACCOUNT}:sluice-dev-triggers",
    ("WebhookEvents", "Arn"): f"arn:aws:sqs:{REGION}:{ACCOUNT}:sluice-dev-webhook-events",
    ("Undelivered", "Arn"): f"arn:aws:sqs:{REGION}:{ACCOUNT}:sluice-dev-undelivered",
    ("Undelivered", "QueueName"): "sluice-dev-undelivered",
    ("ChangeStream", "Arn"): f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/sluice-dev-changes",
    ("SchedulerRole", "Arn"): f"arn:aws:iam::{ACCOUNT}:role/sluice-dev-scheduler",
    ("ScheduleGroup", None): "sluice-dev",
    ("DatabaseSubnets", None): "sluice-dev",
    ("DatabaseProxy", None): "sluice-dev",
    ("Database", None): "sluice-dev",
    ("Dashboard", None): "sluice-dev",
    ("ContainerLog", None): "/ecs/sluice-dev-stages",
    **{
        (roles.logical_id(name), "Arn"): f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:"
        + render.full_name("sluice-dev", name)
        for name in render.lambda_functions()
    },
}


def plain(value, names=MADE):
    """Terraform's values as the comparison has them: references by name, nothing for null, policies in one form."""
    if isinstance(value, dict):
        found = {name: plain(inner, names) for name, inner in value.items() if name != "tags" and inner is not None}
        for name in ("policy", "assume_role_policy"):
            if isinstance(found.get(name), str):
                found[name] = policy(found[name])
        for name in ("definition", "dashboard_body", "redrive_policy", "container_definitions", "replication_settings"):
            if isinstance(found.get(name), str):
                found[name] = json.loads(found[name])
        for container in found.get("container_definitions", ()):
            container["environment"].sort(key=lambda variable: variable["name"])
        return found
    if isinstance(value, list | tuple):
        return [plain(inner, names) for inner in value]
    if isinstance(value, str | terraform_values.Reference):
        return re.sub(r"<(aws_[^>]*?)>", lambda found: names[found[1]], str(value))
    return value


def evaluated(made, parameters, names=None):
    known = NAMED | (names or {})

    def attribute(logical_id, name):
        shown = f"<{logical_id}.{name}>" if name else f"<{logical_id}>"
        return known.get((logical_id, name), shown)

    return Evaluator(made, parameters, PSEUDO, attribute)


@pytest.fixture(scope="module")
def document():
    return template.template(stages.read(ROOT, STAGE), ROOT)


def of_template(made, parameters, names=None):
    """{(type, identity): arguments} of what the template makes."""
    evaluator, found = evaluated(made, parameters, names), {}
    for logical_id, resource in evaluator.resources().items():
        properties = evaluator.value(resource.get("Properties", {}))
        for kind, name, arguments in translated(logical_id, resource["Type"], properties):
            assert (kind, name) not in found
            found[kind, name] = arguments
    return found


def of_module(module, built, variables):
    return translated_module(values(module, built, **variables))


def translated_module(made, names=None):
    """{(type, identity): arguments} of what the module makes."""
    found = {}
    for address, arguments in made.resources().items():
        kind = address.split(".")[0]
        if kind in NOT_IN_TEMPLATE or address.startswith("aws_cloudwatch_log_group.function"):
            continue
        aside = ONLY_TERRAFORM.get(kind, set())
        arguments = plain({name: value for name, value in arguments.items() if name not in aside}, MADE | (names or {}))
        if "log_destination" in str(arguments):
            [logging] = arguments["logging_configuration"]
            logging["log_destination"] = logging["log_destination"].removesuffix(":*")
        if kind == "aws_cloudwatch_metric_alarm":
            arguments["evaluation_periods"] = str(arguments["evaluation_periods"])
            arguments = {name: value for name, value in arguments.items() if value != [] or name == "dimensions"}
        key = kind, identity(kind, arguments)
        assert key not in found, f"{address} is {key} once more"
        found[key] = arguments
    return found


def differences(wanted, made):
    found = [f"{' '.join(key)} is missing" for key in sorted(wanted.keys() - made.keys())]
    found += [f"{' '.join(key)} is not in the template" for key in sorted(made.keys() - wanted.keys())]
    for key in sorted(wanted.keys() & made.keys()):
        kind, name = key
        for argument in sorted(wanted[key].keys() | made[key].keys()):
            if argument in ONLY_TERRAFORM.get(kind, ()):
                continue
            left, right = wanted[key].get(argument), made[key].get(argument)
            if left != right:
                found.append(f"{kind} {name}: {argument} is {right!r}, in the template {left!r}")
    return found


def wanted_in(case, document):
    variables, parameters = CASES[case]
    wanted = of_template(document, parameters)
    for address in variables.get("alert_emails", ()):  # in the template they are generated from the configuration
        topic = {"topic_arn": NAMED["AlertsTopic", None], "protocol": "email", "endpoint": address}
        wanted["aws_sns_topic_subscription", address] = topic
    return wanted


@pytest.mark.parametrize("case", CASES)
def test_the_module_makes_what_the_template_makes(module, built, document, case):
    made = of_module(module, built, CASES[case][0])
    assert differences(wanted_in(case, document), made) == []
    assert len(made) > 80


def test_a_stage_that_is_configured_otherwise_makes_the_same_both_ways(module, built):
    """Every setting of `deployment` that decides what is made, unlike its default."""
    stage = stages.read(ROOT, STAGE)
    own = dataclasses.replace(
        stage.deployment,
        alert_emails=("one@example.com", "two@example.com"),
        bucket="our-own-lake",
        runs_days=7,
        raw_days=400,
        schedules=True,
        simulate_sensors=True,
        changes=True,
        access_log=True,
        api_domain="sluice.example.org",
        api_certificate_arn=CERTIFICATE,
        api_rate=7,
        api_burst=9,
        api_quota=10_000,
        read_buckets=("theirs",),
        database_host="proxy.example.com",
        database_secret_arn=SECRET,
    )
    assert all(
        getattr(own, field.name) != field.default for field in dataclasses.fields(own) if field.name != "schedules"
    )
    configured = template.template(dataclasses.replace(stage, deployment=own), ROOT)
    exported = terraform.text(terraform.export(dataclasses.replace(stage, deployment=own), ROOT))

    made = values(module, built)
    made.override(
        "deployment", {**dataclasses.asdict(own), "read_buckets": ["theirs"], "alert_emails": list(own.alert_emails)}
    )
    filled = re.sub(r"\$\{(\w+)\}", lambda found: str(made.local("known_names")[found[1]]), exported)
    made.override("generated", json.loads(filled))

    bucket = {"aws_s3_bucket.lake.id": "our-own-lake"}
    assert (
        differences(of_template(configured, {}, {("Bucket", None): "our-own-lake"}), translated_module(made, bucket))
        == []
    )
    environment = made.resources()["aws_lambda_function.this[plan]"]["environment"][0]["variables"]
    assert environment["SLUICE_DATABASE_HOST"] == "proxy.example.com"
    assert environment["SLUICE_BUCKET"] == "our-own-lake"
    [logged] = made.resources()["aws_api_gateway_stage.api"]["access_log_settings"]
    assert str(logged["destination_arn"]) == "<aws_cloudwatch_log_group.api[0].arn>"
    assert logged["format"] == apis.ACCESS_LOG_FORMAT
    [throttled] = made.resources()["aws_api_gateway_method_settings.all"]["settings"]
    assert throttled == {"throttling_rate_limit": 7, "throttling_burst_limit": 9}
    assert environment["SLUICE_API_KEYS"] == "on"
    [asked, unasked] = (
        {
            (method, path)
            for path, methods in document["paths"].items()
            for method, about in methods.items()
            if {"api_key": []} in about.get("security", ())
        }
        for document in (json.loads(exported)["api"], values(module, built).local("generated")["api"])
    )
    assert ("get", "/runs") in asked and ("get", "/health") not in asked and unasked == set()
    assert "access_log_settings" not in values(module, built).resources()["aws_api_gateway_stage.api"]


def replicating(module, built, replication=REPLICATION):
    """The module for a stage that takes changes, by a replication."""
    made = values(module, built, **NETWORK, replication=replication)
    made.override("deployment", made.local("deployment") | {"changes": True})
    return made


IN_REPLICATING = {
    "SubnetIds": "subnet-1,subnet-2",
    "SecurityGroupIds": "sg-1",
    "Changes": "true",
    "Replication": "true",
    "ReplicationSecretArn": SECRET,
    "ReplicationDatabase": "shop",
    "ReplicationSecurityGroupIds": "sg-2",
    "ReplicationTableMappings": MAPPINGS,
    "ReplicationCapacity": 8,
}


def test_a_replication_is_the_same_both_ways(module, built, document):
    made = translated_module(replicating(module, built))
    assert differences(of_template(document, IN_REPLICATING), made) == []
    assert {kind for kind, _ in made if kind.startswith("aws_dms_")} == {
        "aws_dms_endpoint",
        "aws_dms_replication_config",
        "aws_dms_replication_subnet_group",
    }
    unasked = translated_module(values(module, built, **NETWORK))
    assert not [name for kind, name in unasked if "dms" in kind or "replication" in name]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (lambda made: made["ReplicationSource"]["Properties"].update(SslMode="none"), "ssl_mode is 'require'"),
        (lambda made: made["ReplicationSource"]["Properties"].pop("KmsKeyId"), "kms_key_arn"),
        (lambda made: made["ReplicationTarget"]["Properties"]["KinesisSettings"].pop("IncludeNullAndEmpty"),
         "sluice-dev-changes-target: kinesis_settings"),
        (lambda made: made["ReplicationConfig"]["Properties"].update(ReplicationType="cdc"), "replication_type"),
        (lambda made: made["ReplicationConfig"]["Properties"]["ReplicationSettings"].pop("BeforeImageSettings"),
         "sluice-dev-changes: replication_settings"),
        (lambda made: made["ReplicationConfig"]["Properties"]["ComputeConfig"].update(MultiAZ=True), "compute_config"),
        (lambda made: made["ReplicationStreamRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"].pop(),
         "aws_iam_role_policy sluice-dev-replication-stream/replication_stream: policy"),
    ],
)  # fmt: skip
def test_a_difference_of_the_replication_is_found(module, built, document, fault, expected):
    broken = copy.deepcopy(document)
    fault(broken["Resources"])
    found = differences(of_template(broken, IN_REPLICATING), translated_module(replicating(module, built)))
    assert any(expected in difference for difference in found), found


# what is changed in the template -> what must be said of it
FAULTS = {
    "a resource that only the template has": (
        lambda resources: resources.update(More={"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "more"}}),
        "aws_sns_topic more is missing",
    ),
    "a resource that only the module has": (
        lambda resources: resources.pop("KeyAlias"),
        "aws_kms_alias alias/sluice-dev is not in the template",
    ),
    "encryption": (
        lambda resources: resources["AlertsTopic"]["Properties"].pop("KmsMasterKeyId"),
        "aws_sns_topic sluice-dev-alerts: kms_master_key_id",
    ),
    "public access": (
        lambda resources: resources["Bucket"]["Properties"]["PublicAccessBlockConfiguration"].update(
            BlockPublicAcls=False
        ),
        "block_public_acls is True, in the template False",
    ),
    "versions": (
        lambda resources: resources["Bucket"]["Properties"]["VersioningConfiguration"].update(Status="Suspended"),
        "aws_s3_bucket_versioning",
    ),
    "days of the lifecycle": (
        lambda resources: resources["Bucket"]["Properties"]["LifecycleConfiguration"]["Rules"][0].update(
            ExpirationInDays=1
        ),
        "aws_s3_bucket_lifecycle_configuration",
    ),
    "only over TLS": (
        lambda resources: resources["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"][0].update(
            Condition={}
        ),
        "aws_s3_bucket_policy",
    ),
    "who may take on a role": (
        lambda resources: resources["SchedulerRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"][0].pop(
            "Condition"
        ),
        "aws_iam_role sluice-dev-scheduler: assume_role_policy",
    ),
    "what a role may do": (
        lambda resources: resources["PlanRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"].pop(),
        "aws_iam_role_policy sluice-dev-plan/plan: policy",
    ),
    "retention of a log": (
        lambda resources: resources["StateMachineLog"]["Properties"].update(RetentionInDays=1),
        "retention_in_days is 30, in the template 1",
    ),
    "the state machine": (
        lambda resources: resources["StateMachine"]["Properties"].update(DefinitionString="{}"),
        "aws_sfn_state_machine sluice-dev: definition",
    ),
    "the state machine's log": (
        lambda resources: resources["StateMachine"]["Properties"]["LoggingConfiguration"].update(Level="ERROR"),
        "logging_configuration",
    ),
    "a dead letter's life": (
        lambda resources: resources["DeadLetters"]["Properties"].update(MessageRetentionPeriod=60),
        "message_retention_seconds is 1209600, in the template 60",
    ),
    "an alarm's threshold": (
        lambda resources: resources["FailedRunsAlarm"]["Properties"].update(Threshold=5),
        "aws_cloudwatch_metric_alarm sluice-dev-failed-runs: threshold is 0, in the template 5",
    ),
    "an alarm's action": (
        lambda resources: resources["FailedRunsAlarm"]["Properties"].update(AlarmActions=[]),
        "alarm_actions",
    ),
    "a schedule's time zone": (
        lambda resources: resources["WeatherSchedule"]["Properties"].update(ScheduleExpressionTimezone="UTC"),
        "aws_scheduler_schedule sluice-dev-weather: schedule_expression_timezone",
    ),
    "the dashboard": (
        lambda resources: resources["Dashboard"]["Properties"].update(DashboardBody="{}"),
        "aws_cloudwatch_dashboard sluice-dev: dashboard_body",
    ),
    "the database's protection": (
        lambda resources: resources["Database"]["Properties"].update(DeletionProtection=False),
        "deletion_protection is True, in the template False",
    ),
    "who reaches the database": (
        lambda resources: resources["DatabaseSecurityGroup"]["Properties"]["SecurityGroupIngress"][0].update(
            FromPort=0
        ),
        "aws_vpc_security_group_ingress_rule",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_difference_is_found(module, built, document, fault):
    change, expected = FAULTS[fault]
    case = "with a database and a proxy"
    broken = copy.deepcopy(document)
    change(broken["Resources"])
    found = differences(wanted_in(case, broken), of_module(module, built, CASES[case][0]))
    assert any(expected in difference for difference in found), found


def test_a_property_that_nobody_compares_is_an_error(document):
    broken = copy.deepcopy(document)
    broken["Resources"]["DeadLetters"]["Properties"]["DelaySeconds"] = 5
    with pytest.raises(AssertionError, match="nobody compares DelaySeconds"):
        of_template(broken, {})
    broken["Resources"]["DeadLetters"]["Type"] = "AWS::SQS::Other"
    with pytest.raises(KeyError, match="AWS::SQS::Other"):
        of_template(broken, {})


@pytest.mark.parametrize("case", CASES)
def test_functions_are_those_that_chalice_makes(module, built, document, case):
    """Time, memory, log retention and environment by Chalice's own reading of its configuration."""
    variables, parameters = CASES[case]
    made = values(module, built, **variables).resources()
    from_disk = json.loads((ROOT / ".chalice" / "config.json").read_text())
    added = evaluated(document, parameters).value(template.environment())
    assert [name for name in made if name.startswith("aws_lambda_function.")] == [
        f"aws_lambda_function.this[{name}]" for name in sorted(render.lambda_functions())
    ]
    for name in render.lambda_functions():
        config = Config(STAGE, name, config_from_disk=from_disk)
        function = plain(made[f"aws_lambda_function.this[{name}]"] | {"role": "", "layers": [], "vpc_config": None})
        assert function["function_name"] == render.full_name(f"sluice-{STAGE}", name)
        assert function["handler"] == render.handler(name)
        assert (function["timeout"], function["memory_size"]) == (config.lambda_timeout, config.lambda_memory_size)
        assert function["tracing_config"] == [{"mode": "Active"}] * config.xray_enabled
        [environment] = function["environment"]
        if "database" in variables:  # the template's host is in the secret, or the proxy's
            assert environment["variables"].pop("SLUICE_DATABASE_HOST") == "<DatabaseProxy.Endpoint>"
            assert added["SLUICE_DATABASE_HOST"] == "<DatabaseProxy.Endpoint>"
        assert environment["variables"] == config.environment_variables | {
            key: value for key, value in added.items() if "database" not in variables or key != "SLUICE_DATABASE_HOST"
        }
        log = made[f"aws_cloudwatch_log_group.function[{name}]"]
        assert (log["name"], log["retention_in_days"]) == (
            f"/aws/lambda/{render.full_name(f'sluice-{STAGE}', name)}",
            config.log_retention_in_days,
        )


def test_a_database_and_a_container_are_as_large_as_the_templates_where_nothing_is_said(document):
    text = (MODULE / "variables.tf").read_text()
    defaults = dict(re.findall(r'(\w+)\s*= optional\(\w+, "?(.+?)"?\)', text))
    parameters = {name: str(about.get("Default")) for name, about in document["Parameters"].items()}
    assert defaults == {
        "version": parameters["DatabaseVersion"].split(".")[0],
        "instance_class": parameters["DatabaseClass"],
        "gigabytes": parameters["DatabaseGigabytes"],
        "multi_zone": parameters["DatabaseMultiZone"],
        "proxy": parameters["CreateProxy"],
        "cpu": parameters["ContainerCpu"],
        "memory": parameters["ContainerMemory"],
        "image_tag": parameters["ContainerImageTag"],
        "capacity": parameters["ReplicationCapacity"],
    }


def test_a_layer_is_on_its_functions_alone_and_hashes_decide_what_is_uploaded(module, built):
    made = values(module, built).resources()
    for name in render.lambda_functions():
        layers = [(layer.address, layer.key) for layer in made[f"aws_lambda_function.this[{name}]"]["layers"]]
        wanted = ["dependencies", *artefacts.above(name)]
        assert layers == [("aws_lambda_layer_version.layer", layer) for layer in wanted]
        assert made[f"aws_lambda_function.this[{name}]"]["source_code_hash"] == "code"
    for layer in ("dependencies", *artefacts.ABOVE):
        assert made[f"aws_lambda_layer_version.layer[{layer}]"]["source_code_hash"] == layer
        assert made[f"aws_s3_object.layer[{layer}]"]["source"] == str(built / f"{layer}.zip")


def test_a_secret_that_was_made_here_stays_when_the_stage_names_it(module, built):
    """`sluice secret database` writes its ARN into .chalice/config.json; Terraform must not take it for another one."""
    own = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:sluice/{STAGE}/database-AbCdEf"
    for arn, kept in ((own, True), (SECRET, False)):
        made = values(module, built)
        made.override("deployment", made.local("deployment") | {"database_secret_arn": arn})
        assert ("aws_secretsmanager_secret.database[0]" in made.resources()) is kept


def test_functions_are_in_the_vpc_that_is_given(module, built):
    outside = values(module, built).resources()["aws_lambda_function.this[plan]"]
    inside = values(module, built, **NETWORK).resources()["aws_lambda_function.this[plan]"]
    assert "vpc_config" not in outside
    assert inside["vpc_config"] == [NETWORK]


def test_two_prefixes_are_two_pipelines(module, built):
    """Nothing that has a name of its own has the same one twice in an account."""
    named = ("name", "bucket", "function_name", "alarm_name", "dashboard_name", "layer_name", "identifier")

    def names(prefix):
        made = values(module, built, prefix=prefix).resources()
        unnamed = ("aws_iam_role_policy", "aws_s3_bucket_")  # they belong to one that has a name
        return {
            (address.split(".")[0], arguments[name])
            for address, arguments in made.items()
            for name in named
            if isinstance(arguments.get(name), str) and not address.startswith(unnamed)
        }

    assert len(names("one")) > 75
    assert names("one") & names("two") == set()


def test_no_secret_is_kept_in_the_state(module):
    """What is sent to AWS as a secret is ephemeral, in arguments that are written only."""
    for address, body in module.resources.items():
        assert not {"password", "secret_string", "master_password"} & set(body), address
    assert "manage_master_user_password" not in module.text
    assert not re.search(r"random_password\.(?!database\[0\]\.random_password)", module.text)


# --- what `sluice build` writes for it -----------------------------------------------------------


def test_sluice_build_writes_what_terraform_reads(monkeypatch, tmp_path):
    zipped = artefacts.Artefact("code", tmp_path / "code.zip", "", 1, 1)
    made = artefacts.Artefacts(STAGE, "python3.11", "x86_64", tmp_path, zipped, zipped, zipped, zipped)
    monkeypatch.setattr(artefacts, "build", lambda *arguments, **named: made)
    monkeypatch.chdir(ROOT)
    ran = CliRunner().invoke(build, ["--stage", STAGE])
    assert ran.exit_code == 0, ran.output
    written = json.loads((tmp_path / terraform.FILE).read_text())
    of_api = {"api", "api_log_format"}
    assert set(written) == {"alarms", *of_api, "schedules", "dashboard", "layers"}
    assert len(written["alarms"]) > 2 * len(render.lambda_functions())


def test_what_only_terraform_knows_is_left_open_under_names_that_it_has(module, built):
    text = (built / terraform.FILE).read_text()
    assert set(re.findall(r"\$\{([^}]*)\}", text)) <= set(values(module, built).local("known_names"))
    assert "%{" not in text
    assert "sluice-" not in text.replace(REGION, "")


# --- by Terraform itself, where it is installed --------------------------------------------------

TERRAFORM = shutil.which("terraform")
needs_terraform = pytest.mark.skipif(not TERRAFORM, reason="no program `terraform` is installed")


def terraform_program(*arguments, cwd, **more):
    alone = {"PATH": os.environ["PATH"], "HOME": str(cwd), "CHECKPOINT_DISABLE": "1"}  # it asks nobody for updates
    return subprocess.run([TERRAFORM, *arguments], cwd=cwd, env=alone, capture_output=True, text=True, **more)


@needs_terraform
def test_terraform_finds_it_well_formed():
    ran = terraform_program("fmt", "-check", "-diff", "-recursive", cwd=MODULE)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def counted(module):
    """What decides how many there are of a resource, by address: (`for_each` or `count`, its expression)."""
    for address, body in module.resources.items():
        for name in {"for_each", "count"} & set(body):
            yield address, name, body[name]


@pytest.mark.parametrize("case", CASES)
def test_how_many_there_are_is_known_before_anything_is_made(module, built, case):
    """Terraform plans nothing else: "keys derived from resource attributes cannot be determined until apply"."""
    given = {"stage": STAGE, "artefacts": str(built), **CASES[case][0]}
    planning = Values(module, given, KNOWN, planning=True)
    for address, _, expression in counted(module):
        assert planning.evaluate(expression, planning.scope()) is not None, address
    with pytest.raises(terraform_values.Unknown):
        planning.evaluate("${[for name, value in local.names : name]}", planning.scope())


@needs_terraform
def test_terraform_can_plan_from_nothing(module, built, tmp_path):
    """The module's own counts on resources that are built into Terraform; whatever AWS makes up is unknown."""
    text = (MODULE / "locals.tf").read_text() + (MODULE / "database.tf").read_text().partition("resource ")[0]
    for address, answer in KNOWN.items():
        for name, value in answer.items():
            text = text.replace(f"{address}.{name}", f'"{value}"')
    text = re.sub(r'data "[^}]*\}\n', "", text).replace("${path.module}/../..", str(ROOT))
    text = re.sub(r"aws_\w+\.\w+(\[[*0]\])?\.\w+", lambda found: UNKNOWN + "[*].id" * ("*" in found[0]), text)
    text = text.replace(f"{UNKNOWN}[*]", "terraform_data.made[*]").replace(f"{UNKNOWN},", f"{UNKNOWN}.id,")
    text = re.sub(rf"{UNKNOWN}(?=[\s)])", f"{UNKNOWN}.id", text)
    text += 'resource "terraform_data" "made" {\n  count = 1\n}\n'
    for address, name, expression in counted(module):
        text += f'resource "terraform_data" "{address.replace(".", "_")}" {{\n  {name} = {expression[2:-1]}\n}}\n'
    (tmp_path / "main.tf").write_text((MODULE / "variables.tf").read_text() + text)
    given = ("-var", f"stage={STAGE}", "-var", f"artefacts={built}")
    ran = terraform_program("plan", "-input=false", "-no-color", *given, cwd=tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    alarms = re.findall(r"terraform_data\.aws_cloudwatch_metric_alarm_this\[", ran.stdout)
    assert len(alarms) > 2 * len(render.lambda_functions())


UNKNOWN = "terraform_data.made[0]"


@needs_terraform
def test_terraform_evaluates_as_these_tests_do(module, built, tmp_path):
    """Every local value, resources replaced by what these tests take them for."""
    own = values(module, built)
    text = (MODULE / "locals.tf").read_text() + (MODULE / "database.tf").read_text().partition("resource ")[0]
    for address, answer in KNOWN.items():
        for name, value in answer.items():
            text = text.replace(f"{address}.{name}", f'"{value}"')
    text = re.sub(r'data "[^}]*\}\n', "", text)
    # no provider, so nothing is there to be referred to: those that exist become text, the others nothing
    text = re.sub(
        r"one\(aws_secretsmanager_secret\.database\[\*\]\.arn\)", '"<aws_secretsmanager_secret.database[0].arn>"', text
    )
    text = re.sub(r"aws_security_group\.functions\[\*\]\.id", "[]", text)
    text = re.sub(r"aws_db_\w+\.database\[0\]\.\w+", "[][0]", text)
    text = re.sub(r"(?<![\w<])(aws_\w+\.\w+\.\w+)", r'"<\1>"', text)
    text = text.replace("${path.module}/../..", str(ROOT))
    names = [name for name in module.of("local") if name != "names"]
    outputs = "".join(f'output "{name}" {{\n  value = local.{name}\n}}\n' for name in names)
    files = ("policies/state_machine.json", "policies/scheduler.json", "policies/vpc.json", "pipeline.asl.json")
    filled = {
        path.replace("/", "_"): f'templatefile("${{local.project}}/statemachine/{path}", local.names)' for path in files
    }
    outputs += "".join(
        f'output "{name.removesuffix(".json").replace(".", "_")}" {{\n  value = {call}\n}}\n'
        for name, call in filled.items()
    )
    (tmp_path / "main.tf").write_text((MODULE / "variables.tf").read_text() + text + outputs)
    given = ("-var", f"stage={STAGE}", "-var", f"artefacts={built}")
    ran = terraform_program("apply", "-auto-approve", "-input=false", "-no-color", *given, cwd=tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = json.loads(terraform_program("output", "-json", cwd=tmp_path, check=True).stdout)
    for name in names:
        expected = own.local(name)
        expected = sorted(expected) if isinstance(expected, frozenset) else expected
        assert found[name]["value"] == json.loads(json.dumps(expected, default=str)), name
    for name, call in filled.items():
        given = found[name.removesuffix(".json").replace(".", "_")]["value"]
        assert given == own.evaluate("${" + call + "}", own.scope()), name
