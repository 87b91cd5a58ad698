"""SNS and SQS: topics, who gets their messages, queues, and the policies of both."""

from __future__ import annotations

from typing import Any, ClassVar

from deploy.kinds import waiting
from deploy.kinds.base import (
    Aws,
    Kind,
    document,
    is_gone,
    missing_is_none,
    retag,
    tag_list,
    tags_of,
    text,
    without_empty,
)

PENDING = "PendingConfirmation"


class Topic(Kind):
    type = "AWS::SNS::Topic"
    phase = 4
    required = ("TopicName",)
    replaced_by = ("TopicName",)
    defaults: ClassVar = {"DisplayName": "", "KmsMasterKeyId": "", "Tags": None}
    _attributes = ("DisplayName", "KmsMasterKeyId")

    def predicted(self, aws, properties):
        return aws.arn("sns", properties["TopicName"])

    def attribute(self, aws, physical_id, properties, name):
        if name == "TopicArn":
            return self.predicted(aws, properties)
        if name == "TopicName":
            return properties["TopicName"]
        return super().attribute(aws, physical_id, properties, name)

    def find(self, aws, properties):
        return self.predicted(aws, properties)

    @missing_is_none
    def read(self, aws, physical_id):
        client = aws.client("sns")
        found = client.get_topic_attributes(TopicArn=physical_id)["Attributes"]
        tags = client.list_tags_for_resource(ResourceArn=physical_id)["Tags"]
        known = {name: found[name] for name in self._attributes if found.get(name)}
        return {"TopicName": physical_id.rpartition(":")[2], **known, "Tags": tag_list(tags)}

    def create(self, aws, properties):
        attributes = {name: str(properties[name]) for name in self._attributes if properties.get(name)}
        made = aws.client("sns").create_topic(
            Name=properties["TopicName"], Attributes=attributes, Tags=tag_list(properties.get("Tags"))
        )
        return made["TopicArn"]

    def update(self, aws, physical_id, present, wanted):
        client = aws.client("sns")
        have, want = self.complete(present), self.complete(wanted)
        for name in self._attributes:
            if have[name] != want[name]:
                client.set_topic_attributes(TopicArn=physical_id, AttributeName=name, AttributeValue=want[name])
        retag(
            present,
            wanted,
            lambda tags: client.tag_resource(ResourceArn=physical_id, Tags=tag_list(tags)),
            lambda keys: client.untag_resource(ResourceArn=physical_id, TagKeys=keys),
        )

    @missing_is_none
    def delete(self, aws, physical_id):
        aws.client("sns").delete_topic(TopicArn=physical_id)


class TopicPolicy(Kind):
    type = "AWS::SNS::TopicPolicy"
    phase = 5
    required = ("Topics", "PolicyDocument")
    replaced_by = ("Topics",)

    def check(self, name, properties):
        return super().check(name, properties) + _one_only(name, self.type, properties.get("Topics"))

    def predicted(self, aws, properties):
        return properties["Topics"][0]

    def find(self, aws, properties):
        return properties["Topics"][0]

    @missing_is_none
    def read(self, aws, physical_id):
        found = aws.client("sns").get_topic_attributes(TopicArn=physical_id)["Attributes"]
        return {"Topics": [physical_id], "PolicyDocument": document(found.get("Policy", "{}"))}

    def create(self, aws, properties):
        [topic] = properties["Topics"]
        self._put(aws, topic, text(properties["PolicyDocument"]))
        return topic

    def update(self, aws, physical_id, present, wanted):
        self._put(aws, physical_id, text(wanted["PolicyDocument"]))

    @missing_is_none
    def delete(self, aws, physical_id):
        """A topic always has a policy: that of a new one lets its account use it."""
        own = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Sid": "OwnAccount",
                    "Effect": "Allow",
                    "Principal": {"AWS": aws.account},
                    "Action": ["sns:Publish", "sns:Subscribe", "sns:SetTopicAttributes", "sns:DeleteTopic"],
                    "Resource": physical_id,
                }
            ],
        }
        self._put(aws, physical_id, text(own))

    def _put(self, aws: Aws, topic: str, policy: str) -> None:
        aws.client("sns").set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy)

    def owner(self, aws, physical_id, present):
        return aws.prefix


class Subscription(Kind):
    """Its physical id is ours: topic, protocol and endpoint, since it has no ARN before it is confirmed."""

    type = "AWS::SNS::Subscription"
    phase = 6
    required = ("TopicArn", "Protocol", "Endpoint")
    replaced_by = ("TopicArn", "Protocol", "Endpoint")
    defaults: ClassVar = {"RawMessageDelivery": False}

    def predicted(self, aws, properties):
        return " ".join((properties["TopicArn"], properties["Protocol"], properties["Endpoint"]))

    def find(self, aws, properties):
        return self.predicted(aws, properties)

    def read(self, aws, physical_id):
        arn = self.arn(aws, physical_id)
        if arn is None:
            return None
        topic, protocol, endpoint = physical_id.split(" ", 2)
        raw = "false"
        if arn.startswith("arn:"):
            about = aws.client("sns").get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
            raw = about.get("RawMessageDelivery", "false")
        return {"TopicArn": topic, "Protocol": protocol, "Endpoint": endpoint, "RawMessageDelivery": raw}

    def arn(self, aws: Aws, physical_id: str) -> str | None:
        """Its ARN, PENDING where it is not confirmed, None where there is none."""
        topic, protocol, endpoint = physical_id.split(" ", 2)
        try:
            for page in aws.client("sns").get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic):
                for found in page["Subscriptions"]:
                    same = (found["Protocol"], found["Endpoint"]) == (protocol, endpoint)
                    if same and found["SubscriptionArn"] != "Deleted":  # which stays listed for a while
                        return found["SubscriptionArn"]
        except aws.client("sns").exceptions.ClientError as error:
            if not is_gone(error):
                raise
        return None

    def create(self, aws, properties):
        attributes = {"RawMessageDelivery": "true"} if self._raw(properties) else {}
        aws.client("sns").subscribe(
            TopicArn=properties["TopicArn"],
            Protocol=properties["Protocol"],
            Endpoint=properties["Endpoint"],
            Attributes=attributes,
            ReturnSubscriptionArn=True,
        )
        return self.predicted(aws, properties)

    def update(self, aws, physical_id, present, wanted):
        arn = self.arn(aws, physical_id)
        aws.client("sns").set_subscription_attributes(
            SubscriptionArn=arn,
            AttributeName="RawMessageDelivery",
            AttributeValue=str(self._raw(wanted)).lower(),
        )

    def delete(self, aws, physical_id):
        """One that is not confirmed has no ARN: AWS deletes it after two days, or with the topic."""
        arn = self.arn(aws, physical_id)
        if arn is not None and arn.startswith("arn:"):
            aws.client("sns").unsubscribe(SubscriptionArn=arn)

    def _raw(self, properties: dict) -> bool:
        return self.complete(properties)["RawMessageDelivery"] == "true"

    def owner(self, aws, physical_id, present):
        return aws.prefix  # it goes with its topic


class Queue(Kind):
    type = "AWS::SQS::Queue"
    phase = 7
    required = ("QueueName",)
    replaced_by = ("QueueName", "FifoQueue")
    defaults: ClassVar = {
        "DelaySeconds": 0,
        "KmsDataKeyReusePeriodSeconds": 300,
        "KmsMasterKeyId": "",
        "MessageRetentionPeriod": 345600,
        "ReceiveMessageWaitTimeSeconds": 0,
        "RedrivePolicy": "",
        "SqsManagedSseEnabled": True,
        "VisibilityTimeout": 30,
        "Tags": None,
    }

    def complete(self, properties):
        completed = super().complete(properties)
        if completed["KmsMasterKeyId"]:
            completed["SqsManagedSseEnabled"] = "false"  # a queue has one or the other
        else:
            completed["KmsDataKeyReusePeriodSeconds"] = None
        return completed

    def attribute(self, aws, physical_id, properties, name):
        if name == "Arn":
            return aws.arn("sqs", properties["QueueName"])
        if name == "QueueName":
            return properties["QueueName"]
        if name == "QueueUrl":
            return physical_id
        return super().attribute(aws, physical_id, properties, name)

    @missing_is_none
    def find(self, aws, properties):
        return aws.client("sqs").get_queue_url(QueueName=properties["QueueName"])["QueueUrl"]

    @missing_is_none
    def read(self, aws, physical_id):
        client = aws.client("sqs")
        found = client.get_queue_attributes(QueueUrl=physical_id, AttributeNames=["All"]).get("Attributes", {})
        known = {name: found[name] for name in self.defaults if found.get(name)}
        if "RedrivePolicy" in known:
            known["RedrivePolicy"] = document(known["RedrivePolicy"])
        tags = client.list_queue_tags(QueueUrl=physical_id).get("Tags", {})
        return {"QueueName": physical_id.rpartition("/")[2], **known, "Tags": tag_list(tags)}

    def create(self, aws, properties):
        client = aws.client("sqs")
        attributes = {n: _attribute(v) for n, v in properties.items() if n not in ("QueueName", "Tags")}
        return waiting.retried(
            lambda: client.create_queue(
                QueueName=properties["QueueName"], Attributes=attributes, tags=tags_of(properties.get("Tags"))
            ),
            ("QueueDeletedRecently", "AWS.SimpleQueueService.QueueDeletedRecently"),
        )["QueueUrl"]

    def update(self, aws, physical_id, present, wanted):
        client = aws.client("sqs")
        have, want = self.complete(present), self.complete(wanted)
        changed = {
            name: _attribute(want[name])
            for name in self.defaults
            if name != "Tags" and have[name] != want[name] and want[name] is not None
        }
        if changed:
            client.set_queue_attributes(QueueUrl=physical_id, Attributes=changed)
        retag(
            present,
            wanted,
            lambda tags: client.tag_queue(QueueUrl=physical_id, Tags=tags),
            lambda keys: client.untag_queue(QueueUrl=physical_id, TagKeys=keys),
        )

    @missing_is_none
    def delete(self, aws, physical_id):
        aws.client("sqs").delete_queue(QueueUrl=physical_id)


class QueuePolicy(Kind):
    type = "AWS::SQS::QueuePolicy"
    phase = 8
    required = ("Queues", "PolicyDocument")
    replaced_by = ("Queues",)

    def check(self, name, properties):
        return super().check(name, properties) + _one_only(name, self.type, properties.get("Queues"))

    def find(self, aws, properties):
        [queue] = properties["Queues"]
        return queue

    @missing_is_none
    def read(self, aws, physical_id):
        found = aws.client("sqs").get_queue_attributes(QueueUrl=physical_id, AttributeNames=["Policy"])
        policy = found.get("Attributes", {}).get("Policy")
        return without_empty({"Queues": [physical_id], "PolicyDocument": document(policy)}) if policy else None

    def create(self, aws, properties):
        [queue] = properties["Queues"]
        self.update(aws, queue, {}, properties)
        return queue

    def update(self, aws, physical_id, present, wanted):
        policy = {"Policy": text(wanted["PolicyDocument"])}
        aws.client("sqs").set_queue_attributes(QueueUrl=physical_id, Attributes=policy)

    @missing_is_none
    def delete(self, aws, physical_id):
        aws.client("sqs").set_queue_attributes(QueueUrl=physical_id, Attributes={"Policy": ""})

    def owner(self, aws, physical_id, present):
        return aws.prefix


def _attribute(value: Any) -> str:
    return text(value) if isinstance(value, dict) else str(value).lower() if isinstance(value, bool) else str(value)


def _one_only(name: str, type: str, holders: Any) -> list[str]:
    several = isinstance(holders, list) and len(holders) != 1
    return [f"{name} ({type}): `sluice deploy` takes a policy for one alone"] if several else []


KINDS = (Topic, TopicPolicy, Subscription, Queue, QueuePolicy)
