"""What `sluice deploy` does with the real template: to the end, a second time, after drift and after breaking."""

import json

import deployed_project
import pytest
from botocore.exceptions import ClientError
from deployed_project import READING, REGION

from chalicelib.errors import ConfigurationError, DeploymentError
from deploy import artefacts, functions, permissions, plan, roles
from deploy import stage as stages
from statemachine import render

MORE = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}


@pytest.fixture
def project(tmp_path, monkeypatch):
    with deployed_project.made(tmp_path, monkeypatch) as made:
        yield made


def names(made, action):
    return {step.logical_id for step in made.steps if step.action == action}


def test_a_deployment_makes_all_of_the_template_and_a_second_one_nothing(project):
    first = project.deploy()
    assert {step.action for step in first.steps} == {plan.CREATE}
    assert project.chalice_runs == 1
    second = project.deploy()
    assert [line for step in second.changes for line in step.lines()] == []
    assert project.chalice_runs == 1
    assert {step.logical_id for step in second.steps} == {step.logical_id for step in first.steps}
    assert "nothing to change" in list(second.lines())


def test_the_apis_access_log_comes_and_goes_with_its_setting(project):
    group = "/aws/apigateway/sluice-dev"

    def logged():
        client = project.aws.client("apigateway")
        [api] = [each["id"] for each in client.get_rest_apis()["items"] if each["name"] == "sluice-dev"]
        return (client.get_stage(restApiId=api, stageName="api").get("accessLogSettings") or {}).get("destinationArn")

    def groups():
        found = project.aws.client("logs").describe_log_groups(logGroupNamePrefix=group)["logGroups"]
        return [(each["logGroupName"], each.get("retentionInDays")) for each in found]

    project.deploy()
    assert (logged(), groups()) == (None, [])
    project.settings(access_log=True)
    changed = project.deploy()
    assert {step.logical_id for step in changed.changes} == {"ApiAccessLog", "RestAPI"}
    days = stages.read(project.folder, "dev").config.log_retention_in_days
    assert logged() == f"arn:aws:logs:{REGION}:123456789012:log-group:{group}"
    assert groups() == [(group, days)]
    assert list(project.deploy().changes) == []
    project.settings(access_log=False)
    project.deploy()
    assert (logged(), groups()) == (None, [])


def test_the_apis_domain_and_its_usage_plan_come_and_go_with_their_settings(project):
    def served():
        client = project.aws.client("apigateway")
        domains = client.get_domain_names()["items"]
        mapped = [
            (each["restApiId"], each["stage"])
            for domain in domains
            for each in client.get_base_path_mappings(domainName=domain["domainName"])["items"]
        ]
        plans = [(each["quota"]["limit"], each["apiStages"]) for each in client.get_usage_plans()["items"]]
        return [domain["domainName"] for domain in domains], mapped, plans

    project.deploy()
    [api] = project.aws.client("apigateway").get_rest_apis()["items"]
    assert served() == ([], [], [])
    certificate = f"arn:aws:acm:{REGION}:123456789012:certificate/1"
    project.settings(api_domain="sluice.example.org", api_certificate_arn=certificate, api_quota=1000)
    changed = names(project.deploy(), plan.CREATE)
    assert changed == {"ApiDomainName", "ApiDomainMapping", "ApiUsagePlan"}
    stage = {"apiId": api["id"], "stage": "api"}
    assert served() == (["sluice.example.org"], [(api["id"], "api")], [(1000, [stage])])
    # the functions say whether routes ask for a key
    variables = project.aws.client("lambda").get_function_configuration(FunctionName="sluice-dev")["Environment"]
    assert variables["Variables"]["SLUICE_API_KEYS"] == "on"
    assert list(project.deploy().changes) == []
    project.settings(api_domain="", api_certificate_arn="", api_quota=0)
    assert names(project.deploy(), plan.DELETE) == {"ApiDomainName", "ApiDomainMapping", "ApiUsagePlan"}
    assert served() == ([], [], [])


def test_an_api_has_its_stages_name_after_each_run_of_chalice(project):
    """CloudWatch tells APIs apart by their names alone, and Chalice calls that of every stage after the app."""

    def called():
        return [each["name"] for each in project.aws.client("apigateway").get_rest_apis()["items"]]

    project.deploy()
    assert called() == ["sluice-dev"]
    project.change("code", "code = 2")
    project.deploy()
    assert (project.chalice_runs, called()) == (2, ["sluice-dev"])
    assert list(project.deploy().changes) == []


def test_a_plan_changes_nothing_and_says_what_it_would(project, monkeypatch):
    before = (project.folder / ".chalice" / "config.json").read_bytes()
    calls = deployed_project.watch(monkeypatch)
    made = project.plan()
    assert not [name for _, name in calls if not name.startswith(READING)]
    assert (project.folder / ".chalice" / "config.json").read_bytes() == before
    lines = "\n".join(made.lines())
    for step in made.steps:
        assert step.logical_id in lines
    assert f"{len(made.steps)} to create" in lines


def test_the_state_machine_calls_the_deployed_functions(project):
    project.deploy()
    arn = f"arn:aws:states:{REGION}:123456789012:stateMachine:sluice-dev"
    definition = project.aws.client("stepfunctions").describe_state_machine(stateMachineArn=arn)["definition"]
    for name in render.state_functions():
        assert f"arn:aws:lambda:{REGION}:123456789012:function:sluice-dev-{name}" in definition
    assert "${" not in definition


def test_code_that_changed_is_deployed_by_chalice_alone(project):
    project.deploy()
    project.change("code", "code = 2")
    made = project.deploy()
    assert names(made, plan.UPDATE) == {roles.logical_id(name) for name in render.lambda_functions()}
    assert all([d.name for d in step.differences] == ["Code"] for step in made.changes)
    assert project.chalice_runs == 2
    assert not project.deploy().changes


def test_a_gate_that_changed_is_a_new_version_and_the_old_one_goes_in_the_same_deployment(project):
    project.deploy()
    project.change("gate", "gate = 2")
    made = project.deploy()
    assert names(made, plan.REPLACE) == {artefacts.layer_id("gate")}
    versions = project.aws.client("lambda").list_layer_versions(LayerName="sluice-dev-gate")["LayerVersions"]
    assert [version["Version"] for version in versions] == [2]
    assert not project.deploy().changes


@pytest.mark.parametrize(
    ("settings", "name"),
    [({"log_retention_in_days": 90}, "LogRetentionInDays"), ({"tags": {"team": "data"}}, "Tags")],
)
def test_retention_and_tags_that_changed_alone_are_deployed(project, settings, name):
    project.deploy()
    project.chalice_settings(**settings)
    made = project.deploy()
    assert names(made, plan.UPDATE) >= {roles.logical_id(name) for name in render.lambda_functions()}
    assert name in {d.name for step in made.changes for d in step.differences}
    assert project.chalice_runs == 2
    assert not project.deploy().changes


def test_tags_that_are_taken_out_of_the_settings_are_taken_off(project):
    project.chalice_settings(lambda_functions={"plan": {"tags": {"team": "data"}}})
    project.deploy()
    project.chalice_settings(lambda_functions={"plan": {}})
    assert "Plan" in names(project.deploy(), plan.UPDATE)
    assert not project.deploy().changes


def test_tracing_that_was_switched_off_leaves_nothing_to_do(project):
    """Chalice leaves it on where it was."""
    project.deploy()
    project.chalice_settings(xray=False)
    assert not project.deploy().changes


def test_what_was_changed_by_hand_is_found_and_mended(project):
    project.deploy()
    client = project.aws.client
    client("s3").delete_public_access_block(Bucket=project.aws.bucket)
    client("iam").put_role_policy(RoleName="sluice-dev-plan", PolicyName="more", PolicyDocument=json.dumps(MORE))
    client("cloudwatch").delete_alarms(AlarmNames=["sluice-dev-failed-runs"])
    client("lambda").update_function_configuration(FunctionName="sluice-dev-load", MemorySize=3000)
    made = project.deploy()
    assert names(made, plan.CREATE) == {"FailedRunsAlarm"}
    assert names(made, plan.UPDATE) == {"Bucket", "PlanRole", "Load"}
    assert not project.deploy().changes


def test_what_the_template_has_no_more_is_deleted(project):
    project.deploy()
    project.settings(alert_emails=["data@example.com"], schedules=False)
    made = project.deploy()
    [gone] = [step.physical_id for step in made.steps if step.action == plan.DELETE and "SNS" in step.type]
    assert gone.endswith("ops@example.com")
    topic = f"arn:aws:sns:{REGION}:123456789012:sluice-dev-alerts"
    subscribed = project.aws.client("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert [subscription["Endpoint"] for subscription in subscribed] == ["data@example.com"]
    assert "NoRunSucceededAlarm" in names(made, plan.DELETE)
    assert not project.deploy().changes


def test_prepared_everything_is_there_that_chalice_needs(project):
    project.deploy(prepare=True)
    assert project.chalice_runs == 0
    project.chalice()  # as a user does it by hand
    made = project.deploy()
    assert not {step.type for step in made.changes} & {"AWS::Lambda::Function", "Sluice::Configuration"}
    assert project.chalice_runs == 1
    assert not project.deploy().changes


def test_what_somebody_else_made_is_left_alone_and_all_of_it_is_named(project):
    aws = project.plan() and project.aws
    location = {"LocationConstraint": REGION}
    aws.client("s3").create_bucket(Bucket=aws.bucket, CreateBucketConfiguration=location)
    aws.client("s3").put_object(Bucket=aws.bucket, Key="theirs", Body=b"")
    aws.client("iam").create_role(RoleName="sluice-dev-plan", AssumeRolePolicyDocument=json.dumps(MORE))
    aws.client("sns").create_topic(Name="sluice-dev-alerts", Tags=[{"Key": "sluice:stage", "Value": "sluice-prod"}])
    with pytest.raises(ConfigurationError) as raised:
        project.deploy()
    message = str(raised.value)
    assert aws.bucket in message
    assert "sluice-dev-plan" in message
    assert "belongs to sluice-prod" in message
    assert "sluice:stage" in message


def test_another_checkout_deploys_the_same_stage_and_leaves_this_ones_files_alone(project, tmp_path_factory):
    project.deploy()
    mine = (project.folder / ".chalice" / "config.json").read_text()
    other = project.checkout(tmp_path_factory.mktemp("other") / "project")
    made = other.deploy()
    assert names(made, plan.CREATE) == {functions.CONFIGURATION}
    assert len(made.changes) == 1
    assert (project.folder / ".chalice" / "config.json").read_text() == mine
    assert not project.deploy().changes
    assert not other.deploy().changes


@pytest.mark.parametrize("when", ["before", "after"])
def test_wherever_it_breaks_the_same_command_goes_on_and_comes_to_the_same_end(project, monkeypatch, when):
    """Each kind of call that changes something fails once: before AWS has done it, or with the answer lost."""
    failed = deployed_project.break_once_at_each_call(monkeypatch, when)
    for _ in range(200):
        try:
            project.deploy()
            break
        except DeploymentError as error:
            assert "goes on from there" in str(error)
        except ClientError:
            assert project.chalice_runs  # Chalice's part is not ours to word here
    else:
        pytest.fail(f"never came to an end: {failed}")
    assert len(failed) > 20
    failed.stop()
    assert [line for step in project.deploy().changes for line in step.lines()] == []
    client = project.aws.client
    assert len([k for k in client("kms").list_keys()["Keys"]]) == 1
    assert len(client("sns").list_topics()["Topics"]) == 1
    topic = f"arn:aws:sns:{REGION}:123456789012:sluice-dev-alerts"
    assert len(client("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]) == 1
    assert len(client("secretsmanager").list_secrets()["SecretList"]) == 1
    assert len(client("lambda").list_functions()["Functions"]) == len(render.lambda_functions())
    assert len(client("lambda").list_layer_versions(LayerName="sluice-dev-gate")["LayerVersions"]) == 1


# what an operation is called where the action that allows it has another name:
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
ACTIONS = {
    "s3:HeadBucket": "s3:ListBucket",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:GetBucketEncryption": "s3:GetEncryptionConfiguration",
    "s3:PutBucketEncryption": "s3:PutEncryptionConfiguration",
    "s3:GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "s3:PutPublicAccessBlock": "s3:PutBucketPublicAccessBlock",
    "s3:GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
    "s3:GetBucketNotificationConfiguration": "s3:GetBucketNotification",
    "s3:PutBucketNotificationConfiguration": "s3:PutBucketNotification",
    "s3:PutBucketLifecycleConfiguration": "s3:PutLifecycleConfiguration",
}
# allowed to everybody, or asked by Chalice's understudy in these tests
NO_ACTION = {"sts:GetCallerIdentity"}
SERVICES = {"stepfunctions": "states"}
VERBS = "apigateway"  # the service whose actions are HTTP's


def test_whoever_deploys_is_asked_beforehand_for_every_permission_that_deploying_takes(project, monkeypatch):
    calls = deployed_project.watch(monkeypatch)
    project.deploy()
    project.settings(alert_emails=["data@example.com"], schedules=False, runs_days=10)
    project.change("gate", "gate = 2")
    project.deploy()
    named = {f"{SERVICES.get(service, service)}:{operation}" for service, operation in calls if service != VERBS}
    # https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-iam-policy-examples.html
    model = project.aws.client(VERBS).meta.service_model
    named |= {f"{VERBS}:{model.operation_model(op).http['method']}" for service, op in calls if service == VERBS}
    needed = {ACTIONS.get(name, name) for name in named} - NO_ACTION
    asked = {
        action
        for actions in permissions.needed(project.aws, stages.read(project.folder, "dev")).values()
        for action in actions
    }
    assert sorted(needed - asked) == []
