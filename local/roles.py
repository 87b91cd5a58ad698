"""What a role or a user in the emulated IAM may do, and where: moto keeps policies, and asks nobody for them.

The stack's own state machine names a role that does not exist, and is asked for no rights.
"""

from __future__ import annotations

import json
import re

from moto.iam.models import iam_backends
from moto.kms.models import kms_backends
from moto.s3.models import s3_backends

from local import iam
from local.functions import REGION
from local.iam import Need, Place
from local.policy_enforcement import refusal

_PRINCIPAL = re.compile(r"arn:(?P<partition>[\w-]+):(?:iam|sts)::(?P<account>\d+):(?P<kind>role|user)/.+")


def policies(arn: str) -> list[dict] | None:
    """The documents of a role or a user, inline and attached; None where there is no such."""
    found = _PRINCIPAL.fullmatch(arn)
    if not found:
        return None
    backend = iam_backends[found["account"]][found["partition"]]
    principals = backend.roles if found["kind"] == "role" else backend.users
    principal = next((each for each in list(principals.values()) if each.arn == arn), None)
    if principal is None:
        return None
    own = principal.policies.values()
    documents = [text if isinstance(text, str) else json.dumps(text) for text in own]
    documents += [policy.document for policy in principal.managed_policies.values()]
    return [json.loads(document) for document in documents]


def place(bucket: str, account: str, region: str = REGION) -> Place:
    """Where a stage is: with the key of its bucket, as an ARN, where it has one of its own."""
    return Place(region, account, key=_key_of(bucket, account, region))


def _key_of(bucket: str, account: str, region: str) -> str:
    found = s3_backends[account]["aws"].buckets.get(bucket)
    rules = (found.encryption or {}).get("Rule", {}) if found else {}
    for rule in rules if isinstance(rules, list) else [rules]:
        name = rule.get("ApplyServerSideEncryptionByDefault", {}).get("KMSMasterKeyID", "")
        if name.startswith("arn:") and ":key/" in name:
            return name
        if name:
            return kms_backends[account][region].describe_key(name).arn
    return ""


class Restricted:
    """A client of the state machine's interpreter that does only what a role may do."""

    def __init__(self, client, service: str, documents: list[dict], region: str = REGION):
        self._client, self._service, self._documents, self._region = client, service, documents, region

    def __getattr__(self, method: str):
        call = getattr(self._client, method)
        needed = _NEEDED.get((self._service, method))
        if needed is None:
            return call

        def restricted(**parameters):
            need = needed(parameters)
            if not iam.allows(self._documents, need.action, need.resource, need.context):
                operation = "".join(part.capitalize() for part in method.split("_"))
                raise refusal(self._service, operation, need)
            return call(**parameters)

        return restricted


def _queue(parameters: dict) -> Need:
    account, name = parameters["QueueUrl"].rstrip("/").split("/")[-2:]
    return Need("sqs:SendMessage", f"arn:aws:sqs:{REGION}:{account}:{name}")


def _object(action: str):
    return lambda parameters: Need(action, f"arn:aws:s3:::{parameters['Bucket']}/{parameters['Key']}")


_NEEDED = {
    ("lambda", "invoke"): lambda parameters: Need("lambda:InvokeFunction", parameters["FunctionName"]),
    ("sns", "publish"): lambda parameters: Need("sns:Publish", parameters["TopicArn"]),
    ("sqs", "send_message"): _queue,
    ("s3", "get_object"): _object("s3:GetObject"),
    ("s3", "put_object"): _object("s3:PutObject"),
}
