"""What all kinds of resources have in common, and how two sets of properties are compared."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from chalicelib import boto_errors
from chalicelib.errors import ConfigurationError
from deploy.template import STAGE_TAG

TAG = STAGE_TAG  # by which our own resources are known

# throttling and 5xx are botocore's to retry; what a new role or a deleted queue needs is each kind's own
_CONFIG = Config(connect_timeout=10, read_timeout=120, retries={"max_attempts": 8, "mode": "standard"})

# lists of objects whose order says nothing
_UNORDERED = ("Dimensions", "Policies", "Rules", "Statement", "Transitions")
_SAME_AS_A_LIST = ("Action", "NotAction", "Resource", "NotResource")


@dataclass(frozen=True, eq=False)
class Aws:
    """One account and region, and the stage that is deployed there."""

    account: str
    region: str
    partition: str
    stage: str
    prefix: str = ""  # what the names of all that is the stage's begin with, and the value of their tag
    caller: str = ""  # the ARN of whoever deploys
    bucket: str = ""  # the stage's own
    api_stage: str = ""  # the name of the API's stage
    files: Mapping[str, Path] = field(default_factory=dict)  # what is uploaded, by key in the bucket
    variables: tuple[str, ...] = ()  # the environment variables that deploying sets
    folder: Path = Path()  # the project's root
    clients: dict[str, Any] = field(default_factory=dict, repr=False)  # by service; making one takes 7 to 30 ms

    @property
    def pseudo(self) -> dict[str, str]:
        """CloudFormation's pseudo parameters."""
        suffix = "amazonaws.com.cn" if self.partition == "aws-cn" else "amazonaws.com"
        return {
            "AWS::AccountId": self.account,
            "AWS::Region": self.region,
            "AWS::Partition": self.partition,
            "AWS::URLSuffix": suffix,
        }

    def client(self, service: str):
        if service not in self.clients:
            self.clients[service] = boto3.client(service, region_name=self.region, config=_CONFIG)
        return self.clients[service]

    def arn(self, service: str, resource: str) -> str:
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"


class Kind:
    """One type of resource; properties have the shape of CloudFormation's.

    `defaults` are the properties that may be left out, with what AWS then does; a property that is in
    neither `required` nor `defaults` is refused. `replaced_by` are those that cannot be changed.
    """

    type: ClassVar[str]
    required: ClassVar[tuple[str, ...]] = ()
    defaults: ClassVar[Mapping[str, Any]] = {}
    replaced_by: ClassVar[tuple[str, ...]] = ()
    unread: ClassVar[tuple[str, ...]] = ()  # what AWS does not tell: never a difference
    if_wanted: ClassVar[tuple[str, ...]] = ()  # where nothing is wanted, whatever is there is no difference
    phase: ClassVar[int] = 50  # the order where dependencies leave it open
    keeps_data: ClassVar[bool] = False  # only deleted where the user names it

    def identity(self) -> tuple[str, ...]:
        """The properties by which it is found and its attributes are known."""
        return self.replaced_by

    def check(self, name: str, properties: dict) -> list[str]:
        """What is wrong with a resource of the template."""
        known = {*self.required, *self.defaults}
        faults = [
            f"{name} ({self.type}): `sluice deploy` does not know the property {p}"
            for p in sorted(set(properties) - known)
        ]
        faults += [f"{name} ({self.type}): {p} is missing" for p in self.required if p not in properties]
        return faults

    def find(self, aws: Aws, properties: dict) -> str | None:
        """The physical id of the resource that has these properties' name; None where there is none."""
        raise NotImplementedError

    def read(self, aws: Aws, physical_id: str) -> dict | None:
        """Its properties now; None where it is gone."""
        raise NotImplementedError

    def create(self, aws: Aws, properties: dict) -> str:
        """Make it and return its physical id."""
        raise NotImplementedError

    def update(self, aws: Aws, physical_id: str, present: dict, wanted: dict) -> None:
        raise NotImplementedError

    def delete(self, aws: Aws, physical_id: str) -> None:
        """Delete it; no error where it is gone."""
        raise NotImplementedError

    def retire(self, aws: Aws, physical_id: str) -> None:
        """What is undone of one that is kept when its stage goes."""

    def attribute(self, aws: Aws, physical_id: str | None, properties: dict, name: str | None) -> Any:
        """`Ref` (name None) or `Fn::GetAtt`; None where it is not known before the resource is made."""
        if name is None:
            return physical_id or self.predicted(aws, properties)
        raise ConfigurationError(f"{self.type} has no attribute {name} that `sluice deploy` knows")

    def predicted(self, aws: Aws, properties: dict) -> str | None:
        """The physical id that it will have; None where AWS makes it up."""
        return None

    def owner(self, aws: Aws, physical_id: str, present: dict) -> str | None:
        """The prefix of the stage that it is tagged with, e.g. `sluice-dev`; None where it bears no such tag."""
        return tags_of(present.get("Tags")).get(TAG)

    def complete(self, properties: dict) -> dict:
        """In the form in which two sets of properties are compared: defaults filled in, order taken out."""
        filled = {**self.defaults, **{n: v for n, v in properties.items() if n not in self.unread}}
        return {name: canonical(value, name) for name, value in filled.items() if name not in self.unread}

    @property
    def takes_tags(self) -> bool:
        return "Tags" in self.defaults


@dataclass(frozen=True)
class Difference:
    """One property that is not as it should be; None where it is absent."""

    name: str
    present: Any = field(default=None)
    wanted: Any = field(default=None)


def differences(kind: Kind, present: dict, wanted: dict) -> list[Difference]:
    """By property, sorted by name."""
    have, want = kind.complete(present), kind.complete(wanted)
    names = {*have, *want} - {name for name in kind.if_wanted if wanted.get(name) is None}
    return [Difference(n, have.get(n), want.get(n)) for n in sorted(names) if have.get(n) != want.get(n)]


def canonical(value: Any, name: str = "") -> Any:
    """Without what makes no difference: the order of a policy's lists, numbers as text, JSON as text.

    The order of objects in a list stays, but for those that are known to have none: the choices of a
    state machine have one.
    """
    if name == "Tags":
        return [{"Key": k, "Value": v} for k, v in sorted(tags_of(value).items())]
    if isinstance(value, str) and value.lstrip().startswith(("{", "[")):
        try:
            return json.loads(value)
        except ValueError:
            return value
    if isinstance(value, dict):
        return {inner: _canonical_item(inner, value[inner]) for inner in value}
    if isinstance(value, list):
        items = [canonical(item) for item in value]
        plain = not any(isinstance(item, dict | list) for item in items)
        return sorted(items, key=_sort_key) if plain or name in _UNORDERED else items
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(int(value)) if value == int(value) else repr(value)
    return value


def _canonical_item(name: str, value: Any) -> Any:
    if name in _SAME_AS_A_LIST and not isinstance(value, list):
        value = [value]
    if name == "Principal" and value == "*":
        value = {"AWS": "*"}  # the same, and SNS and SQS may write it so
    if name == "Principal" and isinstance(value, dict):
        value = {service: who if isinstance(who, list) else [who] for service, who in value.items()}
    if name == "Condition" and isinstance(value, dict):
        value = {
            operator: {key: values if isinstance(values, list) else [values] for key, values in about.items()}
            if isinstance(about, dict)
            else about
            for operator, about in value.items()
        }
    return canonical(value, name)


def _sort_key(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def document(value: Any) -> Any:
    """A policy document from an API, which may come as text, and IAM's URL-encoded."""
    if isinstance(value, str):
        return json.loads(unquote(value) if value.startswith("%7B") else value)
    return value


def text(value: Any) -> str:
    """A document as an API takes it."""
    return value if isinstance(value, str) else json.dumps(value)


def tags_of(tags: Any) -> dict[str, str]:
    """Tags in any of AWS' shapes, by key, without those that AWS itself sets."""
    if not tags:
        return {}
    if isinstance(tags, list):
        tags = {
            tag.get("Key", tag.get("key", tag.get("TagKey"))): tag.get("Value", tag.get("value", tag.get("TagValue")))
            for tag in tags
        }
    return {key: value for key, value in tags.items() if not key.startswith("aws:")}


def tag_list(tags: Any, key: str = "Key", value: str = "Value") -> list[dict]:
    return [{key: k, value: v} for k, v in sorted(tags_of(tags).items())]


def changed_tags(present: Any, wanted: Any) -> tuple[dict[str, str], list[str]]:
    """What to set and what to take away."""
    have, want = tags_of(present), tags_of(wanted)
    return {k: v for k, v in want.items() if have.get(k) != v}, sorted(set(have) - set(want))


def retag(present: dict, wanted: dict, tag: Callable[[dict], Any], untag: Callable[[list], Any]) -> None:
    """Call `tag` with the tags to set and `untag` with the keys to take away, where there are any."""
    added, dropped = changed_tags(present.get("Tags"), wanted.get("Tags"))
    if added:
        tag(added)
    if dropped:
        untag(dropped)


def without_empty(properties: dict) -> dict:
    """Without what an API answers for nothing."""
    return {name: value for name, value in properties.items() if value not in (None, "", [], {})}


def is_gone(error: ClientError) -> bool:
    """Whether the service says that there is no such thing."""
    code = boto_errors.code(error)
    return code in ("404", "NotFound", "NoSuchBucket", "AWS.SimpleQueueService.NonExistentQueue") or any(
        part in code for part in ("NotFound", "NoSuch", "DoesNotExist", "NonExistent")
    )


def missing_is_none(call):
    """A decorator: None where the service says that there is no such thing."""

    @functools.wraps(call)
    def wrapped(*args, **kwargs):
        try:
            return call(*args, **kwargs)
        except ClientError as error:
            if is_gone(error):
                return None
            raise

    return wrapped
