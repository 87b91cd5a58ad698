"""`sluice deploy`, `chalice deploy` and `sluice destroy` against the emulated AWS, from a user's checkout.

The tests share a stack and go on from one another, as a user does: bad input, the first deployment,
runs of what was deployed, the second, updates, the end. What runs is what was uploaded: each function's zip and
layers in a sandbox, with the rights of its role (`local/deployed.py`).
"""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import aws_inventory
import pytest
from conftest import Pipeline

from deploy import artefacts
from local.functions import ACCOUNT, REGION
from statemachine import render

STAGE = "dev"
PREFIX = f"sluice-{STAGE}"
BUCKET = f"{PREFIX}-{ACCOUNT}-{REGION}"
FUNCTIONS = {render.full_name(PREFIX, name) for name in render.lambda_functions()}
RECORD = f"object s3://{BUCKET}/deployment/record.json"
ADDRESS = "ops@example.com"
MARK = f"mark-{uuid.uuid4().hex}"
BINARIES = Path(sys.prefix, "bin")

# building the layers takes minutes where nobody has built them yet
pytestmark = pytest.mark.timeout(900)


@dataclass
class User:
    """Somebody with a checkout and the environment that `sluice env` prints."""

    pipeline: Pipeline
    folder: Path

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLUICE_", "AWS_"))}
        kept.pop("PYTHONDONTWRITEBYTECODE", None)  # most shells do not have it, and bytecode must not be deployed
        return {
            **kept,
            **self.pipeline.stack.env(),
            "PATH": os.pathsep.join([str(BINARIES), os.environ["PATH"]]),
            "PYTHONPATH": str(self.folder),
            "SLUICE_HOME": str(self.pipeline.home),
            "NO_PROXY": "127.0.0.1,localhost",
        }

    def types(self, *command: str, status: int | None = 0, given: str = "") -> str:
        """What a command in the checkout prints, on both outputs; `status` None: any but 0."""
        ran = subprocess.run(
            command, cwd=self.folder, env=self.environment(), input=given, capture_output=True, text=True, timeout=600
        )
        said = ran.stdout + ran.stderr
        assert ran.returncode == status if status is not None else ran.returncode, said
        return said

    def sluice(self, *arguments: str, status: int | None = 0, given: str = "") -> str:
        return self.types(sys.executable, "-m", "cli", *arguments, status=status, given=given)

    def killed_at(self, text: str, *arguments: str) -> None:
        """Run `sluice` and kill it, and what it started, as soon as it says `text`."""
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "cli", *arguments],
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        said = []
        with process.stdout as output:
            for line in output:
                said.append(line)
                if text in line:
                    break
            else:
                raise AssertionError(f"never said {text!r}: {''.join(said)}")
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)

    @property
    def config(self) -> Path:
        return self.folder / ".chalice" / "config.json"

    def configure(self, change) -> None:
        """Edit `.chalice/config.json`."""
        document = json.loads(self.config.read_text())
        change(document)
        self.config.write_text(json.dumps(document, indent=2) + "\n")

    def append(self, name: str, text: str) -> None:
        path = self.folder / name
        path.write_text(path.read_text() + text)

    def inventory(self) -> aws_inventory.Inventory:
        return aws_inventory.taken(self.pipeline.client)

    def files(self, *without: str) -> dict[str, str]:
        """What is in the checkout, by name, but for what is below `without`."""
        found = {}
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder).as_posix()
            if path.is_file() and "__pycache__" not in name and not name.startswith(without):
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        return found

    def functions(self) -> dict[str, dict]:
        """The functions' configuration.

        Without the time of their last change and the versions of layers: Chalice, where it does
        anything, writes all functions anew and publishes its layer again.
        """
        pages = self.pipeline.client("lambda").get_paginator("list_functions").paginate()
        found = {each["FunctionName"]: each for page in pages for each in page["Functions"]}
        for each in found.values():
            del each["LastModified"]
            each["Layers"] = [layer["Arn"].rpartition(":")[0] for layer in each["Layers"]]
        return found

    def log(self) -> str:
        return (self.pipeline.home / "logs" / "lambda.log").read_text()


@pytest.fixture(scope="module")
def user(own_stack, checkout):
    with own_stack() as pipeline:
        pipeline.env |= {
            "SLUICE_BUCKET": BUCKET,
            "SLUICE_STATE_MACHINE_ARN": f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{PREFIX}",
            "SLUICE_DEAD_LETTER_URL": f"{pipeline.env['AWS_ENDPOINT_URL']}/{ACCOUNT}/{PREFIX}-dead-letters",
        }
        user = User(pipeline, checkout())
        user.append("app.py", f'\n\nprint("{MARK}")\n')  # it tells what was deployed from the repository's own code
        yield user


@pytest.fixture(scope="module")
def ready(user):
    """With what a user does before the first deployment."""
    said = user.sluice("secret", "database", "--stage", STAGE, given=user.pipeline.env["DATABASE_URL"])
    assert user.pipeline.env["DATABASE_URL"] not in said + user.config.read_text()
    user.configure(lambda document: _deployment(document).update(alert_emails=[ADDRESS]))
    return user


@pytest.fixture(scope="module")
def deployed(ready):
    said = ready.sluice("deploy", "--stage", STAGE)
    assert re.search(r"Smoke run \S+: 3 fetched = 3 inserted", said), said
    return ready


def _deployment(document: dict, stage: str = STAGE) -> dict:
    return document["stages"][stage]["deployment"]


def _put(pipeline, name: str, rows: int, expectation: dict) -> str:
    """A CSV, its declaration and its suite in the bucket's inbox; the declaration's address."""
    suite = {"name": name, "expectations": [expectation]}
    declaration = (
        f'location = "{name}.csv"\ntable = "{name}"\nkey = ["id"]\nsuite = "{name}.json"\n'
        '[columns]\nid = "bigint not null"\nname = "text"\n'
    )
    content = "id,name\n" + "".join(f"{i},n{i}\n" for i in range(rows))
    client = pipeline.client("s3")
    for suffix, text in (("csv", content), ("json", json.dumps(suite)), ("toml", declaration)):
        client.put_object(Bucket=BUCKET, Key=f"inbox/{name}.{suffix}", Body=text.encode())
    return f"s3://{BUCKET}/inbox/{name}.toml"


def _lengths(minimum: int) -> dict:
    return {
        "type": "expect_column_value_lengths_to_be_between",
        "kwargs": {"column": "name", "min_value": minimum},
        "severity": "critical",
    }


# --- bad input: found before anything is changed ----------------------------------------------


def _no_settings(user):
    pass


def _no_secret(user):
    arn = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:sluice/dev/database-AbCdEf"
    user.configure(lambda d: _deployment(d).update(alert_emails=[ADDRESS], database_secret_arn=arn))


def _unreachable_database(user):
    url = "postgresql://somebody:hidden-password@127.0.0.1:1/sluice?connect_timeout=2"
    arn = user.pipeline.client("secretsmanager").create_secret(Name="elsewhere", SecretString=url)["ARN"]
    user.configure(lambda d: _deployment(d).update(alert_emails=[ADDRESS], database_secret_arn=arn))


def _no_address(user):
    user.configure(lambda d: _deployment(d).update(alert_emails=["not an address"]))


def _unknown_setting(user):
    user.configure(lambda d: _deployment(d).update(alert_email=[ADDRESS]))


def _large_package(user):
    (user.folder / "chalicelib" / "weights.bin").write_bytes(os.urandom(60 * 2**20))


@pytest.mark.parametrize(
    ("stage", "spoil", "named"),
    [
        ("nowhere", _no_settings, ["nowhere", ".chalice/config.json", "dev, staging, prod"]),
        (STAGE, _no_settings, ["alert_emails", "database_secret_arn", "config.json", "sluice secret database"]),
        (STAGE, _no_secret, ["database_secret_arn", "sluice/dev/database-AbCdEf", "config.json"]),
        (STAGE, _unreachable_database, ["cannot be reached", "database_secret_arn", "config.json"]),
        (STAGE, _no_address, ["alert_emails", "not an address", "config.json"]),
        (STAGE, _unknown_setting, ["alert_email", "config.json", "known ones are"]),
        (STAGE, _large_package, ["code-python", "52,428,800", "heaviest, unzipped: chalicelib"]),
    ],
    ids=lambda value: getattr(value, "__name__", "").strip("_"),
)
def test_bad_input_is_refused_with_nothing_changed(user, stage, spoil, named):
    before_it = user.config.read_bytes()
    try:
        spoil(user)
        aws, files = user.inventory(), user.files("build", ".chalice/deployments")
        said = user.sluice("deploy", "--stage", stage, status=1)
        assert [name for name in named if name not in said] == [], said
        assert "hidden-password" not in said
        assert aws_inventory.changed(aws, user.inventory()) == {}
        assert user.files("build", ".chalice/deployments") == files
    finally:
        user.config.write_bytes(before_it)
        (user.folder / "chalicelib" / "weights.bin").unlink(missing_ok=True)


def test_a_secret_that_is_no_database_is_refused(user):
    aws, files = user.inventory(), user.files()
    user.sluice("secret", "database", "--stage", STAGE, given="hunter2", status=1)
    assert aws_inventory.changed(aws, user.inventory()) == {}
    assert user.files() == files


# --- the first deployment ---------------------------------------------------------------------


def test_a_dry_run_prints_the_plan_and_changes_nothing(ready):
    aws, files = ready.inventory(), ready.files("build/cache")
    said = ready.sluice("deploy", "--stage", STAGE, "--dry-run")
    assert re.search(r"create +AWS::StepFunctions::StateMachine", said)
    assert len(re.findall(r"create +AWS::Lambda::Function ", said)) == len(FUNCTIONS)
    assert aws_inventory.changed(aws, ready.inventory()) == {}
    assert ready.files("build/cache") == files


def test_a_deployment_makes_everything_and_tries_it(deployed):
    there = deployed.inventory()
    assert {name.removeprefix("function ") for name in there if name.startswith("function ")} == FUNCTIONS
    for name in (
        f"bucket {BUCKET}",
        f"state machine {PREFIX}",
        f"topic arn:aws:sns:{REGION}:{ACCOUNT}:{PREFIX}-alerts",
        f"dashboard {PREFIX}",
        f"schedule group {PREFIX}",
        f"alias/{PREFIX}",
        f"role {PREFIX}-state-machine",
        f"secret sluice/{STAGE}/tokens",
    ):
        assert name in there, sorted(there)
    layers = {name: each["Layers"] for name, each in deployed.functions().items()}
    above = {render.full_name(PREFIX, name) for functions in artefacts.ABOVE.values() for name in functions}
    assert {name for name in layers if len(layers[name]) == 2} == above
    assert {len(each) for each in layers.values()} == {1, 2}
    assert [
        name for name in deployed.pipeline.query("SELECT tablename FROM pg_tables WHERE schemaname = 'curated'")
    ] == []


def test_no_function_knows_the_databases_password_or_has_a_secret_in_its_environment(deployed):
    for function in deployed.functions().values():
        variables = function["Environment"]["Variables"]
        assert variables["SLUICE_STAGE"] == STAGE
        assert not {"SLUICE_DATABASE_URL", "SLUICE_TOKENS"} & set(variables)
        assert deployed.pipeline.env["DATABASE_URL"] not in json.dumps(variables)


# --- runs of what was deployed ----------------------------------------------------------------


def test_runs_execute_the_uploaded_zips_from_fetch_to_publish(deployed):
    """The checkout's code raises meanwhile, and the repository's own has no mark: only the zips can do this."""
    pipeline, app = deployed.pipeline, deployed.folder / "app.py"
    code = app.read_text()
    pipeline.stack.usage(reset=True)
    try:
        app.write_text('raise RuntimeError("this is the working tree")\n')
        weather = pipeline.run("weather", start="2024-01-01", end="2024-01-07")
        orders = pipeline.run("files", input=_put(pipeline, "orders", 500, _lengths(1)))
    finally:
        app.write_text(code)
    for run in (weather, orders):
        assert (run.status, run.row.get("status"), run.row.get("verdict")) == ("SUCCEEDED", "succeeded", "pass"), run
    assert orders.account == (500, 500, 0, 0, 0, 0)
    assert pipeline.query("SELECT count(*) FROM curated.orders") == [(500,)]
    assert pipeline.query("SELECT count(*) > 0 FROM curated.weather") == [(True,)]
    used = pipeline.stack.usage()
    assert set(used) <= FUNCTIONS
    assert {f"{PREFIX}-{name}" for name in ("plan", "fetch_partition", "quality_gate", "publish")} <= set(used)
    assert MARK in deployed.log()
    assert "AccessDenied" not in deployed.log()
    assert "working tree" not in deployed.log()


def test_what_comes_into_a_deployed_stages_inbox_and_queue_starts_runs_of_it_once(deployed):
    """By the bucket's notification, the queue, its mapping and the function's own role."""
    pipeline, name = deployed.pipeline, f"sensor-{uuid.uuid4().hex[:8]}"
    reading = {"sensor": name, "temperature": 20.5, "humidity": 45.0, "pressure": 1013.0, "battery": 90.0}
    lines = [json.dumps({**reading, "measured_at": f"2026-01-01T00:{minute:02}:00Z"}) for minute in range(10)]
    key = f"inbox/sensors/{name}.ndjson"
    pipeline.client("s3").put_object(Bucket=BUCKET, Key=key, Body="\n".join(lines).encode())
    queue = f"{pipeline.env['AWS_ENDPOINT_URL']}/{ACCOUNT}/{PREFIX}-triggers"
    message = {"source": "sensors", "input": f"s3://{BUCKET}/{key}", "id": name}
    for body in (message, message, {"source": "nobody", "id": name}):
        pipeline.client("sqs").send_message(QueueUrl=queue, MessageBody=json.dumps(body))
    done = "SELECT input ->> 'trigger' FROM pipeline.runs WHERE input ->> 'input' = %s AND status = 'succeeded'"
    wanted = {(f"inbox s3://{BUCKET}/{key}",), (f"queue {name}",)}
    end = time.monotonic() + 240
    while not wanted <= set(pipeline.query(done, f"s3://{BUCKET}/{key}")):
        assert time.monotonic() < end, deployed.log()[-3000:]
        time.sleep(0.1)
    assert pipeline.query(
        "SELECT count(*) FROM pipeline.runs WHERE input ->> 'input' = %s", f"s3://{BUCKET}/{key}"
    ) == [(2,)]
    assert pipeline.query("SELECT count(*) FROM curated.sensors WHERE sensor = %s", name) == [(10,)]
    undelivered = pipeline.client("sqs").receive_message(QueueUrl=f"{queue.removesuffix('triggers')}undelivered")
    assert [json.loads(kept["Body"]) for kept in undelivered["Messages"]] == [{"source": "nobody", "id": name}]
    assert "AccessDenied" not in deployed.log()


def test_a_deployed_stage_is_used_with_the_same_commands(deployed):
    prints = deployed.sluice("env", "--stage", STAGE)
    given = dict(re.findall(r"^export (\w+)=(\S+)$", prints, re.MULTILINE))
    assert given["SLUICE_STATE_MACHINE_ARN"] == deployed.pipeline.env["SLUICE_STATE_MACHINE_ARN"]
    script = f'eval "$({sys.executable} -m cli env --stage {STAGE})" && {sys.executable} -m cli run weather'
    said = deployed.types("bash", "-c", f"{script} --from 2024-02-01 --to 2024-02-02 --name by-command")
    assert "fetched" in said
    assert deployed.pipeline.query("SELECT status FROM pipeline.runs WHERE run_id = 'by-command'") == [("succeeded",)]


def test_a_quality_failure_publishes_nothing_and_mails(deployed):
    pipeline = deployed.pipeline
    run = pipeline.run("files", input=_put(pipeline, "names", 50, _lengths(20)))
    assert (run.status, run.error, run.row["status"]) == ("FAILED", "QualityFailed", "rejected")
    assert pipeline.query("SELECT count(*) FROM curated.names") == [(0,)]
    (mail,) = pipeline.emails(run.run_id)
    assert mail["to"] == [ADDRESS]
    assert "Nothing is published" in mail["message"]
    assert [letter["run_id"] for letter in pipeline.dead_letters(run.run_id)] == [run.run_id]


@pytest.mark.parametrize(
    ("role", "action"), [("fetch_partition", "s3:PutObject"), ("state-machine", "lambda:InvokeFunction")]
)
def test_a_role_with_one_action_less_fails_the_run_with_an_alert_and_deploying_mends_it(deployed, role, action):
    pipeline, name = deployed.pipeline, f"{PREFIX}-{role}"
    iam, before = pipeline.client("iam"), deployed.inventory()[f"role {PREFIX}-{role}"]
    (policy,) = iam.list_role_policies(RoleName=name)["PolicyNames"]
    document = iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
    for statement in document["Statement"]:
        if action == "lambda:InvokeFunction" and action in statement["Action"]:
            statement["Resource"] = [arn for arn in statement["Resource"] if not arn.endswith("-publish")]
        statement["Action"] = [each for each in statement["Action"] if each != action or "lambda:" in each]
    document["Statement"] = [statement for statement in document["Statement"] if statement["Action"]]
    iam.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=json.dumps(document))

    run = pipeline.run("weather", start="2024-01-01", end="2024-01-02")
    assert run.status == "FAILED"
    assert run.row["status"] == "failed"
    assert f"not authorized to perform: {action} on resource" in run.cause, run
    (mail,) = pipeline.emails(run.run_id)
    assert mail["to"] == [ADDRESS]

    said = deployed.sluice("deploy", "--stage", STAGE, "--no-smoke", "--yes")
    assert re.search(r"updating AWS::IAM::Role", said), said
    assert deployed.inventory()[f"role {PREFIX}-{role}"] == before
    assert pipeline.run("weather", start="2024-01-01", end="2024-01-02").status == "SUCCEEDED"


# --- the second deployment, and others --------------------------------------------------------


def test_a_second_deployment_says_that_nothing_changed_and_changes_nothing(deployed):
    aws, files = deployed.inventory(), deployed.files("build")
    said = deployed.sluice("deploy", "--stage", STAGE)
    assert "Nothing to change" in said
    assert aws_inventory.changed(aws, deployed.inventory()) == {}
    assert deployed.files("build") == files


def test_an_edited_limit_changes_that_function_alone(deployed):
    before = deployed.functions()
    deployed.configure(lambda d: d["lambda_functions"]["quality_gate"].update(lambda_memory_size=1088))
    others = {name: about for name, about in deployed.inventory().items() if not name.startswith("function ")}
    deployed.sluice("deploy", "--stage", STAGE, "--no-smoke", "--yes")
    after = deployed.functions()
    assert {name for name in after if after[name] != before[name]} == {f"{PREFIX}-quality_gate"}
    assert after[f"{PREFIX}-quality_gate"]["MemorySize"] == 1088
    now = {name: about for name, about in deployed.inventory().items() if not name.startswith("function ")}
    assert _of_resources(aws_inventory.changed(others, now)) == set()


def test_edited_code_suite_and_machine_are_what_runs_next(deployed):
    pipeline, mark = deployed.pipeline, f"mark-{uuid.uuid4().hex}"
    suite = deployed.folder / "chalicelib" / "expectations" / "weather.json"
    machine = deployed.folder / "statemachine" / "pipeline.asl.json"
    was = suite.read_text()
    before = deployed.inventory()

    deployed.append("chalicelib/stages/plan.py", f'\n\nprint("{mark}")\n')
    document = json.loads(was)
    document["expectations"].append(
        {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 10**9}, "severity": "critical"}
    )
    suite.write_text(json.dumps(document))
    asl = json.loads(machine.read_text())
    asl["Comment"] = mark
    machine.write_text(json.dumps(asl, indent=2))

    deployed.sluice("deploy", "--stage", STAGE, "--no-smoke", "--yes")
    changed = _of_resources(aws_inventory.changed(before, deployed.inventory()))
    assert changed == {f"function {name}" for name in FUNCTIONS} | {f"state machine {PREFIX}"}
    run = pipeline.run("weather", start="2024-01-01", end="2024-01-02")
    assert (run.status, run.error) == ("FAILED", "QualityFailed")
    assert mark in deployed.log()
    about = pipeline.client("stepfunctions").describe_state_machine(
        stateMachineArn=pipeline.env["SLUICE_STATE_MACHINE_ARN"]
    )
    assert json.loads(about["definition"])["Comment"] == mark

    suite.write_text(was)  # what is deployed next has it again


def test_chalice_deploys_by_itself_what_was_prepared(deployed):
    mark = f"mark-{uuid.uuid4().hex}"
    deployed.append("app.py", f'\n\nprint("{mark}")\n')
    before = deployed.functions()
    said = deployed.sluice("deploy", "--stage", STAGE, "--prepare")
    assert f"chalice deploy --stage {STAGE}" in said
    assert deployed.functions() == before
    deployed.types(str(BINARIES / "chalice"), "deploy", "--stage", STAGE)
    after = deployed.functions()
    volatile = ("CodeSha256", "CodeSize")
    for name in FUNCTIONS:
        assert after[name]["CodeSha256"] != before[name]["CodeSha256"]
        assert {k: v for k, v in after[name].items() if k not in volatile} == {
            k: v for k, v in before[name].items() if k not in volatile
        }
    assert deployed.pipeline.run("weather", start="2024-01-01", end="2024-01-02").status == "SUCCEEDED"
    assert mark in deployed.log()
    deployed.sluice("deploy", "--stage", STAGE, "--no-smoke", "--yes")
    assert "Nothing to change" in deployed.sluice("deploy", "--stage", STAGE)


def test_a_deployment_that_breaks_half_way_goes_on_and_all_of_it_can_be_destroyed(deployed):
    stage, aws = "staging", deployed.inventory()
    config = deployed.config.read_bytes()
    deployed.sluice("secret", "database", "--stage", stage, given=deployed.pipeline.env["DATABASE_URL"])
    deployed.configure(lambda document: _deployment(document, stage).update(alert_emails=[ADDRESS]))
    with_secret = deployed.inventory()

    deployed.killed_at("AWS::IAM::Role TransformRole", "deploy", "--stage", stage, "--no-smoke")
    deployed.killed_at(f"sluice-{stage}-load", "deploy", "--stage", stage, "--no-smoke")
    deployed.sluice("deploy", "--stage", stage, "--no-smoke")
    assert "Nothing to change" in deployed.sluice("deploy", "--stage", stage)
    # a stage is a world of its own
    assert aws_inventory.changed(aws, {k: v for k, v in deployed.inventory().items() if k in aws}) == {}

    bucket = f"sluice-{stage}-{ACCOUNT}-{REGION}"
    deployed.sluice("destroy", "--stage", stage, "--yes", "--delete-data", BUCKET, status=1)
    assert f"bucket {bucket}" in deployed.inventory()
    deployed.sluice("destroy", "--stage", stage, "--yes", "--delete-data", bucket)
    left = {name for name, kind in aws_inventory.changed(with_secret, deployed.inventory()).items() if kind == "made"}
    assert {name.split()[0].partition("/")[0] for name in left} <= {"key", "alias", "secret"}, left
    deployed.config.write_bytes(config)


# --- the end ----------------------------------------------------------------------------------


def test_no_message_but_the_one_that_names_no_source_was_left_undelivered(deployed):
    queue = f"{deployed.pipeline.env['AWS_ENDPOINT_URL']}/{ACCOUNT}/{PREFIX}-undelivered"
    kinds = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = deployed.pipeline.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=kinds)["Attributes"]
    assert sum(map(int, found.values())) == 1, found


def test_destroying_a_stage_leaves_its_data_alone(deployed):
    before = deployed.inventory()
    said = deployed.sluice("destroy", "--stage", STAGE, "--dry-run")
    assert f"{PREFIX}-publish" in said
    assert aws_inventory.changed(before, deployed.inventory()) == {}

    said = deployed.sluice("destroy", "--stage", STAGE, "--yes")
    left = {name for name in deployed.inventory() if STAGE in name or "key" in name}
    kinds = {name.split()[0].partition("/")[0] for name in left}
    assert kinds <= {"bucket", "object", "key", "alias", "secret"}, left
    assert {f"bucket {BUCKET}", f"secret sluice/{STAGE}/database"} <= left
    raw = deployed.pipeline.client("s3").list_objects_v2(Bucket=BUCKET, Prefix="raw/")
    assert raw["KeyCount"] > 0
    assert deployed.pipeline.query("SELECT count(*) FROM curated.orders") == [(500,)]
    assert BUCKET in said

    deployed.sluice("destroy", "--stage", STAGE, "--yes", "--delete-data", BUCKET)
    left = set(deployed.inventory())
    assert f"bucket {BUCKET}" not in left
    assert {f"alias/{PREFIX}", f"secret sluice/{STAGE}/tokens", f"secret sluice/{STAGE}/database"} <= left
    assert deployed.pipeline.query("SELECT count(*) FROM curated.orders") == [(500,)]


def _of_resources(changed: dict[str, str]) -> set[str]:
    """Without the notes of the deployment itself, objects of the runs and layers' versions that replace others."""
    notes = ("object ", "layer ", "execution ", "log group ")
    return {name for name in changed if not name.startswith(notes)}
