"""`sluice secret`: what must be in no file of the repository is put into Secrets Manager from here."""

from __future__ import annotations

import json

from chalicelib import secrets, settings
from chalicelib.errors import ConfigurationError
from deploy import account
from deploy.kinds import KINDS, Aws
from deploy.kinds.base import TAG, is_gone
from deploy.stage import SECTION, Stage, read_config, write_config

_SECRET = KINDS["AWS::SecretsManager::Secret"]


def keep_database(stage: Stage, text: str) -> str:
    """Keep the database's URL, or RDS's JSON, as `<app>/<stage>/database`; the ARN goes into the configuration.

    Raises ConfigurationError, which never quotes the value, where nobody could connect with it.
    """
    name = f"{stage.app}/{stage.name}/database"
    secrets.as_url(text, name)
    arn = _put(account.connect(stage), name, "The database's URL, or RDS's JSON", text.strip())
    _write_arn(stage, arn)
    return arn


def keep_token(stage: Stage, name: str, token: str) -> str:
    """Keep a source's token under `name` in the stage's tokens' secret; returns the secret's ARN."""
    if not token.strip():
        raise ConfigurationError("the token is empty")
    settings.expect_webhook_secrets({name: token}, "the token")
    aws = account.connect(stage)
    secret = f"{stage.app}/{stage.name}/tokens"
    try:
        present = aws.client("secretsmanager").get_secret_value(SecretId=secret)["SecretString"]
    except aws.client("secretsmanager").exceptions.ClientError as error:
        if not is_gone(error):
            raise ConfigurationError(f"the secret {secret} cannot be read: {error}") from error
        present = "{}"
    try:
        tokens = json.loads(present)
    except ValueError:
        tokens = None
    if not isinstance(tokens, dict):
        raise ConfigurationError(f"the secret {secret} holds no JSON object", next_step="correct it in the AWS console")
    document = json.dumps({**tokens, name: token.strip()})
    return _put(aws, secret, "The sources' tokens by name, one JSON object", document)


def _put(aws: Aws, name: str, description: str, value: str) -> str:
    wanted = {"Name": name, "Description": description, "Tags": {TAG: aws.prefix}}
    arn = _SECRET.find(aws, wanted)
    present = _SECRET.read(aws, arn) if arn else None
    if present is None:
        arn = _SECRET.create(aws, wanted)
    elif _SECRET.owner(aws, arn, present) != aws.prefix:
        raise ConfigurationError(
            f"the secret {name} exists and was not made by Sluice",
            next_step=f"tag it {TAG} = {aws.prefix} if it may be taken over, or rename it",
        )
    aws.client("secretsmanager").put_secret_value(SecretId=arn, SecretString=value)
    return arn


def _write_arn(stage: Stage, arn: str) -> None:
    document = read_config(stage.path)
    section = document["stages"][stage.name].setdefault(SECTION, {})
    if section.get("database_secret_arn") == arn:
        return
    section["database_secret_arn"] = arn
    write_config(stage.path, document)
