"""`sluice package`'s template as a CloudFormation stack: it comes up in the emulated AWS, and its zips run.

AWS applies SAM's transform itself; moto knows none, so that it is done before. What moto's
CloudFormation lacks is in local/templates.py.
"""

import json
import uuid

import pytest

from deploy import package, sam

STAGE = "staging"
STACK = f"sluice-{STAGE}"


@pytest.fixture(scope="module")
def folder(checkout):
    return checkout()


@pytest.fixture(scope="module")
def aws(own_stack):
    with own_stack() as pipeline:
        pipeline.env["SLUICE_STATE_MACHINE_ARN"] = f"arn:aws:states:us-east-1:123456789012:stateMachine:{STACK}"
        yield pipeline


@pytest.fixture(scope="module")
def parameters(aws):
    arn = aws.client("secretsmanager").create_secret(Name="own/database", SecretString=aws.env["DATABASE_URL"])["ARN"]
    return [{"ParameterKey": "DatabaseSecretArn", "ParameterValue": arn}]


def template(aws, folder, out) -> dict:
    """Packaged, its zips uploaded, translated."""
    bucket = f"artefacts-{uuid.uuid4().hex[:8]}"
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=bucket)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)  # as in a user's shell
        made = package.package(folder, STAGE, out)
    code = made.template["Resources"]["Plan"]["Properties"]["CodeUri"]
    assert (out / code).read_bytes() == made.artefacts.code.path.read_bytes()
    for path in out.glob("*.zip"):
        s3.upload_file(str(path), bucket, path.name)
    return sam.translate(made.template, bucket)


def in_s3(aws, document) -> dict:
    """A template of more than 51,200 bytes goes through S3."""
    bucket = f"templates-{uuid.uuid4().hex[:8]}"
    aws.client("s3").create_bucket(Bucket=bucket)
    aws.client("s3").put_object(Bucket=bucket, Key="template.json", Body=json.dumps(document))
    return {"TemplateURL": f"https://s3.us-east-1.amazonaws.com/{bucket}/template.json"}


@pytest.fixture(scope="module")
def stack(aws, folder, parameters, tmp_path_factory):
    """(the template that was deployed, the stack's outputs)"""
    document = template(aws, folder, tmp_path_factory.mktemp("package"))
    client = aws.client("cloudformation")
    client.create_stack(StackName=STACK, Parameters=parameters, **in_s3(aws, document))
    [found] = client.describe_stacks(StackName=STACK)["Stacks"]
    assert found["StackStatus"] == "CREATE_COMPLETE"
    return document, {output["OutputKey"]: output["OutputValue"] for output in found["Outputs"]}


def load(aws, bucket, table, content=b"id,name\n1,ada\n2,grace\n"):
    declaration = f'location = "{table}.csv"\ntable = "{table}"\nkey = ["id"]\n[columns]\nid = "bigint not null"\n'
    for name, body in ((f"{table}.csv", content), (f"{table}.toml", f'{declaration}name = "text"\n'.encode())):
        aws.client("s3").put_object(Bucket=bucket, Key=f"inbox/{name}", Body=body)
    return aws.run("files", input=f"s3://{bucket}/inbox/{table}.toml")


@pytest.mark.timeout(600)
def test_every_resource_of_the_template_is_there(stack, aws):
    document, outputs = stack
    listed = aws.client("cloudformation").describe_stack_resources(StackName=STACK)["StackResources"]
    made = [resource for resource in listed if "LogicalResourceId" in resource]  # moto lists what a condition left out
    absent = set(document["Resources"]) - {resource["LogicalResourceId"] for resource in made}
    assert all("Condition" in document["Resources"][name] for name in absent)
    assert {resource["ResourceType"] for resource in made} >= {
        "AWS::CloudWatch::Alarm",
        "AWS::Scheduler::Schedule",
        "AWS::SecretsManager::Secret",
        "AWS::S3::BucketPolicy",
    }
    assert aws.client("s3").get_bucket_policy(Bucket=outputs["BucketName"])
    schedules = aws.client("scheduler").list_schedules(GroupName=STACK)["Schedules"]
    assert len(schedules) == sum(r["Type"] == "AWS::Scheduler::Schedule" for r in document["Resources"].values())
    gate = aws.client("lambda").get_function_configuration(FunctionName=f"{STACK}-validate")
    assert [layer["Arn"].split(":")[6] for layer in gate["Layers"]] == [f"{STACK}-managed-layer", f"{STACK}-gate"]
    api = aws.client("lambda").get_function_configuration(FunctionName=f"{STACK}-authorize")
    assert [layer["Arn"].split(":")[6] for layer in api["Layers"]] == [f"{STACK}-managed-layer", f"{STACK}-api"]
    assert gate["TracingConfig"] == {"Mode": "Active"}


@pytest.mark.timeout(600)
def test_a_run_of_the_stack_goes_from_fetch_to_publish_in_its_own_functions(stack, aws, table):
    _, outputs = stack
    aws.stack.usage(reset=True)
    run = load(aws, outputs["BucketName"], table)
    assert (run.status, run.account[0], run.row["status"]) == ("SUCCEEDED", 2, "succeeded"), run
    assert aws.query(f"SELECT name FROM curated.{table} ORDER BY id") == [("ada",), ("grace",)]
    used = aws.stack.usage()
    assert {f"{STACK}-{name}" for name in ("plan", "transform", "validate", "quality_gate", "publish")} <= set(used)
    assert all(name.startswith(f"{STACK}-") for name in used)  # none of the working tree's
    assert not any(usage["errors"] for usage in used.values())


@pytest.mark.timeout(600)
def test_texts_are_embedded_by_what_stands_for_bedrock(stack, aws):
    run = aws.run("posts", input="post")
    assert (run.status, run.account[0]) == ("SUCCEEDED", 100), run
    assert aws.query("SELECT model, count(*) FROM pipeline.embeddings GROUP BY model") == [
        ("amazon.titan-embed-text-v2:0/1024", 100)
    ]


@pytest.mark.timeout(600)
def test_a_run_that_fails_reaches_the_stacks_own_topic_and_queue(stack, aws):
    _, outputs = stack
    run = aws.run("files", input=f"s3://{outputs['BucketName']}/inbox/absent.toml")
    assert run.status == "FAILED"
    messages = aws.client("sqs").receive_message(QueueUrl=outputs["DeadLetterUrl"])["Messages"]
    assert run.run_id in messages[0]["Body"]
    assert aws.emails(run.run_id)[0]["subject"]


@pytest.mark.timeout(600)
def test_an_update_of_the_stack_changes_what_runs_next(stack, aws, folder, parameters, table, tmp_path):
    client = aws.client("lambda")
    before = {name: client.get_function_configuration(FunctionName=f"{STACK}-{name}") for name in ("publish", "load")}
    module = folder / "chalicelib" / "stages" / "publish.py"
    module.write_text(module.read_text() + '\n\nraise ImportError("the edited stage")\n')
    config = folder / ".chalice" / "config.json"
    settings = json.loads(config.read_text())
    settings["lambda_functions"]["load"]["lambda_timeout"] += 7
    config.write_text(json.dumps(settings, indent=2))
    document = template(aws, folder, tmp_path / "package")
    aws.client("cloudformation").update_stack(StackName=STACK, Parameters=parameters, **in_s3(aws, document))
    after = {name: client.get_function_configuration(FunctionName=f"{STACK}-{name}") for name in before}
    assert after["publish"]["CodeSha256"] != before["publish"]["CodeSha256"]
    assert after["load"]["Timeout"] == before["load"]["Timeout"] + 7
    run = load(aws, stack[1]["BucketName"], table)
    assert run.status == "FAILED"
    assert "the edited stage" in run.cause
    assert aws.query(f"SELECT count(*) FROM curated.{table}") == [(0,)]


@pytest.mark.timeout(600)
def test_a_deleted_stack_leaves_the_data_and_nothing_else(stack, aws):
    document, outputs = stack
    aws.client("cloudformation").delete_stack(StackName=STACK)
    assert aws.client("lambda").list_functions()["Functions"] == []
    machines = aws.client("stepfunctions").list_state_machines()["stateMachines"]
    assert STACK not in [machine["name"] for machine in machines]
    alarms = aws.client("cloudwatch").describe_alarms()["MetricAlarms"]
    assert [alarm for alarm in alarms if alarm["AlarmName"].startswith(STACK)] == []
    assert document["Resources"]["Bucket"]["DeletionPolicy"] == "RetainExceptOnCreate"
    assert aws.client("s3").list_objects_v2(Bucket=outputs["BucketName"])["KeyCount"] > 0
