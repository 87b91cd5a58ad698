"""What a role or a user in the emulated IAM may do, and where: moto keeps policies, and asks nobody for them.

The stack's own state machine names a role that does not exist, and is asked for no rights.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping

from moto.iam.models import iam_backends
from moto.kms.models import kms_backends
from moto.s3.models import s3_backends
from moto.sns.models import sns_backends
from moto.sqs.models import sqs_backends

from local import iam
from local.functions import ACCOUNT, REGION
from local.iam import Need, Place, PolicyError
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
        if name := rule.get("ApplyServerSideEncryptionByDefault", {}).get("KMSMasterKeyID", ""):
            return _key_arn(name, account, region)
    return ""


def _key_arn(name: str, account: str, region: str) -> str:
    """A key's ARN, by its ARN, its id or an alias; empty for no name."""
    if not name or (name.startswith("arn:") and ":key/" in name):
        return name
    return kms_backends[account][region].describe_key(name).arn


class Restricted:
    """A client of the state machine's interpreter that does only what a role may do.

    A method that is not in the table below is a PolicyError: better loud than allowed.
    """

    def __init__(self, client, service: str, documents: list[dict], region: str = REGION):
        self._client, self._service, self._documents, self._region = client, service, documents, region

    def __getattr__(self, method: str):
        needed = _NEEDED.get((self._service, method))
        if needed is None:
            raise PolicyError(f"{self._service} {method} is not among the calls that local/roles.py knows")
        call = getattr(self._client, method)

        def restricted(**parameters):
            for need in needed(parameters, self._region):
                if not iam.allows(self._documents, need.action, need.resource, need.context):
                    operation = "".join(part.capitalize() for part in method.split("_"))
                    raise refusal(self._service, operation, need)
            return call(**parameters)

        return restricted


def _function(parameters: Mapping, region: str) -> list[Need]:
    return [Need("lambda:InvokeFunction", parameters["FunctionName"])]


# https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html#sns-what-permissions-for-sse
def _topic(parameters: Mapping, region: str) -> list[Need]:
    arn = parameters["TopicArn"]
    topic = sns_backends[ACCOUNT][region].topics.get(arn)
    return [Need("sns:Publish", arn), *_of_messages("sns", topic, region)]


# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html
def _queue(parameters: Mapping, region: str) -> list[Need]:
    account, name = parameters["QueueUrl"].rstrip("/").split("/")[-2:]
    queue = sqs_backends[account][region].queues.get(name)
    return [Need("sqs:SendMessage", f"arn:aws:sqs:{region}:{account}:{name}"), *_of_messages("sqs", queue, region)]


def _of_messages(service: str, target: object, region: str) -> list[Need]:
    """What a message to a topic or a queue needs of the key that this is encrypted with, if it is."""
    key = _key_arn(getattr(target, "kms_master_key_id", None) or "", ACCOUNT, region)
    return iam.of_key(service, Place(region, ACCOUNT, key=key), ("kms:Decrypt", "kms:GenerateDataKey"))


def _object(operation: str) -> Callable[[Mapping, str], list[Need]]:
    return lambda parameters, region: iam.needs(
        "s3", operation, parameters, place(parameters["Bucket"], ACCOUNT, region)
    )


_NEEDED: dict[tuple[str, str], Callable[[Mapping, str], list[Need]]] = {
    ("lambda", "invoke"): _function,
    ("sns", "publish"): _topic,
    ("sqs", "send_message"): _queue,
    ("s3", "get_object"): _object("GetObject"),
    ("s3", "put_object"): _object("PutObject"),
}
