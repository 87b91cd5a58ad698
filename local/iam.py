"""IAM, as far as our policies use it: what a call to AWS needs, and whether a policy grants it.

Strict where IAM is lenient: an element, an operator, an operation or a placeholder that is not known
here is an error, never a call that passes or a statement that means nothing. Only the standard
library is used, for a sandbox loads this file without the rest of the project.

How a policy is evaluated:
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
Which action an operation needs, on which resource:
https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

VERSION = "2012-10-17"

_DOCUMENT = {"Version", "Statement"}
_STATEMENT = {"Sid", "Effect", "Action", "Resource"}
_OPTIONAL = {"Condition"}
_SID = re.compile(r"[A-Za-z0-9]+")
_ACTION = re.compile(r"[a-z0-9-]+:[A-Za-z0-9*?]+")


class PolicyError(ValueError):
    """A policy, or a call, that this module does not understand."""


@dataclass(frozen=True)
class Need:
    """What a call needs: an action on a resource, in a context of condition keys."""

    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        given = "".join(f", {key} {value}" for key, value in self.context.items())
        return f"{self.action} on {self.resource}{given}"


@dataclass(frozen=True)
class Place:
    """Where calls are made: what ARNs hold that parameters do not say. `key` is that of the data, if they have one."""

    region: str = "us-east-1"
    account: str = "123456789012"
    partition: str = "aws"
    key: str = ""


# --- policies --------------------------------------------------------------------------------


def check(document: Mapping) -> None:
    """Raise PolicyError unless `document` is a policy of the plain form that all of ours have."""
    if not isinstance(document, Mapping) or set(document) != _DOCUMENT or document["Version"] != VERSION:
        raise PolicyError(f"a policy has Version {VERSION} and Statement, nothing else")
    statements = document["Statement"]
    if not isinstance(statements, list) or not statements:
        raise PolicyError("Statement is a list with something in it")
    for statement in statements:
        _check_statement(statement)
    sids = [statement["Sid"] for statement in statements]
    if twice := sorted({sid for sid in sids if sids.count(sid) > 1}):
        raise PolicyError(f"Sid used twice: {', '.join(twice)}")


def _check_statement(statement: Mapping) -> None:
    if not isinstance(statement, Mapping):
        raise PolicyError(f"a statement is an object, not {statement!r}")
    sid = statement.get("Sid")
    if missing := sorted(_STATEMENT - set(statement)):
        raise PolicyError(f"{sid}: {', '.join(missing)} is missing")
    if unknown := sorted(set(statement) - _STATEMENT - _OPTIONAL):  # NotAction, NotResource, Principal among them
        raise PolicyError(f"{sid}: {', '.join(unknown)} is not used here")
    if not isinstance(sid, str) or not _SID.fullmatch(sid):
        raise PolicyError(f"Sid {sid!r} is not of letters and digits")
    if statement["Effect"] not in ("Allow", "Deny"):
        raise PolicyError(f"{sid}: Effect is {statement['Effect']!r}")
    for name in ("Action", "Resource"):
        values = statement[name]
        if not isinstance(values, list) or not values or not all(isinstance(value, str) for value in values):
            raise PolicyError(f"{sid}: {name} is a list of strings with something in it")
    for action in statement["Action"]:
        if not _ACTION.fullmatch(action):
            raise PolicyError(f"{sid}: {action!r} is no action of one service")
    for resource in statement["Resource"]:
        if "${" in resource:
            raise PolicyError(f"{sid}: {resource} has a placeholder that nobody filled in")
        if resource != "*" and not resource.startswith("arn:"):
            raise PolicyError(f"{sid}: {resource!r} is no ARN")
    for operator, wanted in statement.get("Condition", {}).items():
        if operator not in _OPERATORS:
            raise PolicyError(f"{sid}: the operator {operator} is not known here")
        if not isinstance(wanted, Mapping) or not wanted:
            raise PolicyError(f"{sid}: {operator} names no key")
        if "${" in str(wanted):
            raise PolicyError(f"{sid}: {operator} has a placeholder that nobody filled in")


def allows(
    policies: Mapping | Iterable[Mapping], action: str, resource: str, context: Mapping[str, str] | None = None
) -> bool:
    """Whether a role with `policies`, one document or several, may do `action` on `resource`.

    An explicit Deny wins; without an Allow the answer is no.
    """
    allowed = False
    for document in [policies] if isinstance(policies, Mapping) else policies:
        check(document)
        for statement in document["Statement"]:
            if _applies(statement, action, resource, context or {}):
                if statement["Effect"] == "Deny":
                    return False
                allowed = True
    return allowed


def refused(
    policies: Mapping | Iterable[Mapping], service: str, operation: str, parameters: Mapping, place: Place | None = None
) -> Need | None:
    """The first need of a call that `policies` do not grant; None where they grant it."""
    documents = [policies] if isinstance(policies, Mapping) else list(policies)
    for need in needs(service, operation, parameters, place):
        if not allows(documents, need.action, need.resource, need.context):
            return need
    return None


def _applies(statement: Mapping, action: str, resource: str, context: Mapping[str, str]) -> bool:
    return (
        any(matches(pattern.lower(), action.lower()) for pattern in statement["Action"])
        and any(matches(pattern, resource) for pattern in statement["Resource"])
        and all(
            _holds(_OPERATORS[operator], wanted, context) for operator, wanted in statement.get("Condition", {}).items()
        )
    )


def _holds(compare: Callable[[str, str], bool], wanted: Mapping, context: Mapping[str, str]) -> bool:
    """All keys must hold, each by one of its values. A key that the request has not does not hold."""
    found = {key.lower(): value for key, value in context.items()}
    for key, values in wanted.items():
        if key.lower() not in found:
            return False
        if not any(compare(value, found[key.lower()]) for value in ([values] if isinstance(values, str) else values)):
            return False
    return True


def matches(pattern: str, text: str) -> bool:
    """IAM's wildcards: `*` any characters, `/` and `:` too, `?` any one."""
    return _compiled(pattern).fullmatch(text) is not None


@functools.lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern:
    signs = {"*": ".*", "?": "."}
    return re.compile("".join(signs.get(sign, re.escape(sign)) for sign in pattern), re.DOTALL)


def _arn_matches(pattern: str, text: str) -> bool:
    """ArnLike: each of the six fields by itself, so that a wildcard does not reach over a colon."""
    fields, found = pattern.split(":", 5), text.split(":", 5)
    return len(fields) == len(found) == 6 and all(map(matches, fields, found))


_OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": str.__eq__,
    "StringLike": matches,
    "ArnLike": _arn_matches,
    "Bool": lambda wanted, found: wanted.lower() == found.lower(),
}


# --- calls -----------------------------------------------------------------------------------


def needs(service: str, operation: str, parameters: Mapping, place: Place | None = None) -> list[Need]:
    """What a call of boto3 needs: `service` as in `boto3.client`, `operation` as the API calls it (`GetObject`).

    Where `place.key` is set, the bucket and the secrets are encrypted with it, and the calls need it too.
    Raises PolicyError for an operation that is not in the table below.
    """
    try:
        found = _NEEDS[service, operation]
    except KeyError:
        raise PolicyError(f"{service} {operation} is not among the operations that local/iam.py knows") from None
    return found(parameters, place or Place())


def _object(action: str, *key_actions: str):
    def found(parameters: Mapping, place: Place) -> list[Need]:
        arn = f"arn:{place.partition}:s3:::{parameters['Bucket']}/{parameters['Key']}"
        return [Need(action, arn), *of_key("s3", place, key_actions)]

    return found


def _listing(parameters: Mapping, place: Place) -> list[Need]:
    context = {"s3:prefix": parameters["Prefix"]} if "Prefix" in parameters else {}
    return [Need("s3:ListBucket", f"arn:{place.partition}:s3:::{parameters['Bucket']}", context)]


def _secret(parameters: Mapping, place: Place) -> list[Need]:
    return [
        Need("secretsmanager:GetSecretValue", _arn(parameters, "SecretId")),
        *of_key("secretsmanager", place, ("kms:Decrypt",)),
    ]


def _on(action: str, parameter: str):
    def found(parameters: Mapping, place: Place) -> list[Need]:
        return [Need(action, _arn(parameters, parameter))]

    return found


def _log_group(parameters: Mapping, place: Place) -> list[Need]:
    # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatchlogs.html
    name = parameters["logGroupName"]
    return [Need("logs:FilterLogEvents", f"arn:{place.partition}:logs:{place.region}:{place.account}:log-group:{name}")]


def _model(parameters: Mapping, place: Place) -> list[Need]:
    name = parameters["modelId"]
    arn = name if name.startswith("arn:") else f"arn:{place.partition}:bedrock:{place.region}::foundation-model/{name}"
    return [Need("bedrock:InvokeModel", arn)]


def of_key(service: str, place: Place, actions: Iterable[str]) -> list[Need]:
    """What a service does with the key on behalf of its caller."""
    context = {"kms:ViaService": f"{service}.{place.region}.amazonaws.com"}
    return [Need(action, place.key, context) for action in actions] if place.key else []


def _arn(parameters: Mapping, name: str) -> str:
    if not str(parameters[name]).startswith("arn:"):
        raise PolicyError(f"{name} is {parameters[name]!r}; only a whole ARN says what is asked for")
    return parameters[name]


def _queue(parameters: Mapping, place: Place) -> list[Need]:
    # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html
    account, name = parameters["QueueUrl"].rstrip("/").split("/")[-2:]
    arn = f"arn:{place.partition}:sqs:{place.region}:{account}:{name}"
    return [Need("sqs:SendMessage", arn), *of_key("sqs", place, ("kms:Decrypt", "kms:GenerateDataKey"))]


def _topic(parameters: Mapping, place: Place) -> list[Need]:
    # https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html#sns-what-permissions-for-sse
    of_the_key = of_key("sns", place, ("kms:Decrypt", "kms:GenerateDataKey"))
    return [Need("sns:Publish", _arn(parameters, "TopicArn")), *of_the_key]


# a multipart upload encrypts and decrypts: https://repost.aws/knowledge-center/s3-large-file-encryption-kms-key
_PARTS = _object("s3:PutObject", "kms:Decrypt", "kms:GenerateDataKey")

_NEEDS: dict[tuple[str, str], Callable[[Mapping, Place], list[Need]]] = {
    ("s3", "GetObject"): _object("s3:GetObject", "kms:Decrypt"),
    ("s3", "HeadObject"): _object("s3:GetObject", "kms:Decrypt"),
    ("s3", "PutObject"): _object("s3:PutObject", "kms:GenerateDataKey"),
    ("s3", "CreateMultipartUpload"): _PARTS,
    ("s3", "UploadPart"): _PARTS,
    ("s3", "CompleteMultipartUpload"): _PARTS,
    ("s3", "AbortMultipartUpload"): _object("s3:AbortMultipartUpload"),
    ("s3", "DeleteObject"): _object("s3:DeleteObject"),
    ("s3", "ListObjectsV2"): _listing,
    ("secretsmanager", "GetSecretValue"): _secret,
    ("stepfunctions", "GetExecutionHistory"): _on("states:GetExecutionHistory", "executionArn"),
    ("stepfunctions", "DescribeExecution"): _on("states:DescribeExecution", "executionArn"),
    ("stepfunctions", "DescribeStateMachineForExecution"): _on(
        "states:DescribeStateMachineForExecution", "executionArn"
    ),
    ("stepfunctions", "DescribeMapRun"): _on("states:DescribeMapRun", "mapRunArn"),
    ("stepfunctions", "StartExecution"): _on("states:StartExecution", "stateMachineArn"),
    ("sqs", "SendMessage"): _queue,
    ("sqs", "SendMessageBatch"): _queue,
    ("sns", "Publish"): _topic,
    ("bedrock-runtime", "InvokeModel"): _model,
    ("logs", "FilterLogEvents"): _log_group,
}


def known() -> frozenset[tuple[str, str]]:
    """The operations that `needs` knows, as (service, operation)."""
    return frozenset(_NEEDS)
