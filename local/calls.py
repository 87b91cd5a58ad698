"""Which operations of AWS the functions call, written down for who writes a policy or a source.

With `SLUICE_CALLS=FILE` in its environment, a stack's workers add a line to FILE for each call that
boto3 makes: a JSON object with `function` (its full name), `service`, `operation` (as the API calls it) and those
`parameters` that name what is asked for. Where an object was asked for that is not there, a second line has `missing`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from local.policy_enforcement import is_missing

VARIABLE = "SLUICE_CALLS"

# what names a resource; the others may be large, or data
_NAMING = (
    *("Bucket", "Key", "Prefix", "QueueUrl", "SecretId", "TopicArn"),
    *("executionArn", "stateMachineArn", "mapRunArn", "modelId", "logGroupName"),
)


def record_to(path: Path) -> None:
    """Write down the calls of this process and of those forked from it later."""
    import boto3

    def write(line: dict) -> None:
        with path.open("a") as file:  # one short write: the lines of several workers do not mix
            file.write(json.dumps(line) + "\n")

    def asked(params: dict, model, context: dict, **_) -> None:
        line = {
            "function": os.environ["AWS_LAMBDA_FUNCTION_NAME"],
            "service": model.service_model.service_name,
            "operation": model.name,
            "parameters": {name: params[name] for name in _NAMING if name in params},
        }
        context[VARIABLE] = line
        write(line)

    def answered(parsed: dict, model, context: dict, **_) -> None:
        code = parsed.get("Error", {}).get("Code", "")
        if is_missing(model.service_model.service_name, model.name, code):
            write({**context[VARIABLE], "missing": True})

    boto3.setup_default_session()
    boto3.DEFAULT_SESSION.events.register("provide-client-params", asked)
    boto3.DEFAULT_SESSION.events.register("after-call", answered)


def read(path: Path) -> list[dict]:
    """What was written to `path`, each call once however often it was made."""
    lines = dict.fromkeys(path.read_text().splitlines()) if path.exists() else {}
    return [json.loads(line) for line in lines]
