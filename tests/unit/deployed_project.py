"""A project that is deployed to moto in this process: the real template, small zips, and Chalice's part played."""

import contextlib
import dataclasses
import io
import json
import shutil
import zipfile
from collections import Counter
from pathlib import Path
from unittest.mock import patch

import boto3
import botocore.client
from botocore.exceptions import ClientError
from moto import mock_aws

from deploy import account, apply, artefacts, functions, plan, record, template
from deploy import stage as stages
from deploy.artefacts import ABOVE, Artefacts
from local import corrections_of_chalice, corrections_of_deploying, shortcuts
from statemachine import render

ROOT = Path(__file__).parents[2]
REGION = "eu-west-1"
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": REGION}
READING = ("Get", "List", "Describe", "Head")
# for all tests of a process: to read botocore's models and make the clients takes as long as a deployment's calls
SESSION = boto3.session.Session()
CLIENTS = {}
SECRET = f"arn:aws:secretsmanager:{REGION}:123456789012:secret:sluice/dev/database-AbCdEf"


@contextlib.contextmanager
def made(folder, monkeypatch):
    """A Project in `folder`, and moto instead of AWS."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    corrections_of_chalice.apply()
    corrections_of_deploying.apply()
    shortcuts.repeated_search_for_methods()
    for name in ("statemachine", "chalicelib"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "app.py", folder)
    (folder / ".chalice").mkdir()
    document = json.loads((ROOT / ".chalice" / "config.json").read_text())
    document["stages"]["dev"]["deployment"] |= {
        "alert_emails": ["ops@example.com"],
        "database_secret_arn": SECRET,
        "schedules": True,
    }
    (folder / ".chalice" / "config.json").write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    with mock_aws(), patch("boto3.DEFAULT_SESSION", SESSION):
        yield Project(folder)


def zipped(text):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as package:
        package.writestr(zipfile.ZipInfo("module.py"), text)
    return content.getvalue()


class Project:
    """Deploys; Chalice's part is played by a few calls that read the same configuration."""

    def __init__(self, folder):
        self.folder = folder
        self.chalice_runs = 0
        self.zips = {}
        for name in ("code", "dependencies", *ABOVE):
            self.change(name, f"{name} = 1")

    def change(self, name, text):
        path = self.folder / f"{name}.zip"
        path.write_bytes(zipped(text))
        self.zips[name] = artefacts._measured(name, path)

    @property
    def built(self):
        return Artefacts("dev", "python3.11", "x86_64", self.folder, **self.zips)

    def checkout(self, folder):
        """The same project in another folder, where nothing was deployed from."""
        shutil.copytree(self.folder, folder)
        path = folder / ".chalice" / "config.json"
        document = json.loads(path.read_text())
        section = document["stages"]["dev"]
        section["environment_variables"] = {"SLUICE_STAGE": "dev"}
        for name in ("lambda_functions", "iam_role_arn"):
            section.pop(name, None)
        path.write_text(json.dumps(document, indent=2))
        return Project(folder)

    def settings(self, **deployment):
        self.chalice_settings(deployment=deployment)

    def chalice_settings(self, **settings):
        """Settings of the stage; those of an object, as `deployment` is one, go beside what it has."""
        path = self.folder / ".chalice" / "config.json"
        document = json.loads(path.read_text())
        section = document["stages"]["dev"]
        for name, value in settings.items():
            section[name] = {**section.get(name, {}), **value} if isinstance(value, dict) else value
        path.write_text(json.dumps(document, indent=2) + "\n")

    def rename(self, app):
        path = self.folder / ".chalice" / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "app_name": app}, indent=2) + "\n")

    def connect(self):
        """The stage and its template; `aws` is known from now on."""
        stage = stages.read(self.folder, "dev")
        made = template.template(stage, self.folder)
        self.aws = account.connect(stage, made)
        files = functions.layer_files(stage, self.built)
        self.aws = dataclasses.replace(self.aws, files=files, clients=CLIENTS)
        return stage, made

    def plan(self):
        stage, made = self.connect()
        self.record = record.load(self.aws)
        self.resources = plan.Resources(self.aws, functions.add(made, stage, self.built))
        return plan.make(self.resources, self.record)

    def deploy(self, prepare=False):
        """The plan that was carried out."""
        made = self.plan()
        apply.Executor(self.resources, self.record, self.chalice, lambda line: None).run(made, prepare)
        return made

    def chalice(self):
        self.chalice_runs += 1
        client, stage = self.aws.client("lambda"), stages.read(self.folder, "dev")
        layer = client.publish_layer_version(
            LayerName=f"{stage.prefix}-managed-layer", Content={"ZipFile": self.built.dependencies.path.read_bytes()}
        )["LayerVersionArn"]
        for name in render.lambda_functions():
            config = stage.function(name)
            settings = {
                "FunctionName": stage.function_name(name),
                "Runtime": "python3.11",
                "Handler": render.handler(name),
                "Role": config.iam_role_arn,
                "MemorySize": config.lambda_memory_size,
                "Timeout": config.lambda_timeout,
                "Layers": [layer, *(config.layers or [])],
                "Environment": {"Variables": config.environment_variables},
                **({"TracingConfig": {"Mode": "Active"}} if config.xray_enabled else {}),
            }
            code = self.built.code.path.read_bytes()
            try:
                there = client.get_function(FunctionName=settings["FunctionName"])
            except ClientError:
                client.create_function(**settings, Code={"ZipFile": code}, Tags=config.tags)
            else:
                client.update_function_configuration(**settings)
                client.update_function_code(FunctionName=settings["FunctionName"], ZipFile=code)
                arn, dropped = there["Configuration"]["FunctionArn"], sorted(set(there["Tags"]) - set(config.tags))
                client.tag_resource(Resource=arn, Tags=config.tags)
                if dropped:
                    client.untag_resource(Resource=arn, TagKeys=dropped)
        # that of the API's handler has not the function's name
        groups = {f"/aws/lambda/{stage.prefix}-{name}": stage.function(name) for name in render.lambda_functions()}
        logs = self.aws.client("logs")
        there = {group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]}
        for group, config in groups.items():
            if group not in there:
                logs.create_log_group(logGroupName=group)
            logs.put_retention_policy(logGroupName=group, retentionInDays=config.log_retention_in_days)
        resources = [{"name": group, "resource_type": "log_group", "log_group_name": group} for group in groups]
        resources.append({"name": "rest_api", "resource_type": "rest_api", **self._rest_api(stage)})
        return {"resources": resources, "schema_version": "2.0"}

    def _rest_api(self, stage):
        """As Chalice has it, which calls it after the app each time."""
        client, account = self.aws.client("apigateway"), self.aws.account
        there = [each["id"] for each in client.get_rest_apis()["items"] if each["name"] in (stage.prefix, stage.app)]
        integration = {"type": "aws_proxy", "httpMethod": "POST", "uri": "arn:of:nothing"}
        method = {"responses": {"200": {}}, "x-amazon-apigateway-integration": integration}
        info = {"title": stage.app, "version": "1.0"}
        document = {"swagger": "2.0", "info": info, "paths": {"/health": {"get": method}}}
        api_id = there[0] if there else client.import_rest_api(body=json.dumps(document))["id"]
        client.put_rest_api(restApiId=api_id, mode="overwrite", body=json.dumps(document))
        client.create_deployment(restApiId=api_id, stageName="api")
        functions = self.aws.client("lambda")
        with contextlib.suppress(functions.exceptions.ResourceConflictException):  # it is there already
            functions.add_permission(
                FunctionName=stage.prefix,
                StatementId="api",
                Action="lambda:InvokeFunction",
                Principal="apigateway.amazonaws.com",
                SourceArn=f"arn:aws:execute-api:{REGION}:{account}:{api_id}/*",
            )
        url = f"https://{api_id}.execute-api.{REGION}.amazonaws.com/api/"
        return {"rest_api_id": api_id, "rest_api_url": url}


def watch(monkeypatch):
    """How often each operation of each service is called from now on."""
    calls, original = Counter(), botocore.client.BaseClient._make_api_call

    def call(self, operation, arguments):
        calls[(self.meta.service_model.service_name, operation)] += 1
        return original(self, operation, arguments)

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", call)
    return calls


class Broken(set):
    """The operations that failed once; none does after `stop`."""

    def __init__(self):
        super().__init__()
        self.is_over = False

    def stop(self):
        self.is_over = True


def break_once_at_each_call(monkeypatch, when):
    """Every operation that changes something fails once, "before" AWS has done it or "after", its answer lost."""
    failed, original = Broken(), botocore.client.BaseClient._make_api_call

    def call(self, operation, arguments):
        key = (self.meta.service_model.service_name, operation)
        if failed.is_over or operation.startswith(READING) or key in failed:
            return original(self, operation, arguments)
        failed.add(key)
        if when == "after":
            original(self, operation, arguments)
        raise ClientError({"Error": {"Code": "InternalError", "Message": "the line is cut"}}, operation)

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", call)
    return failed
