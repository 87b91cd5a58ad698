"""What the stack shows of itself: the pages that alerts link to, and the emails that SNS would have sent."""

from __future__ import annotations

from collections import defaultdict

from botocore.exceptions import ClientError
from moto.sns.models import sns_backends

from chalicelib.errors import NotFound
from chalicelib.lake import keys
from local.functions import ACCOUNT, REGION
from local.provision import Resources, client


class Pages:
    def __init__(self, resources: Resources):
        self._resources = resources

    def report(self, run_id: str) -> bytes | None:
        """The run's quality report as HTML; None where there is none."""
        try:
            found = client("s3", self._resources.endpoint).get_object(
                Bucket=self._resources.bucket, Key=keys.report(run_id, "html")
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchKey":
                return None
            raise
        return found["Body"].read()

    def graph(self, run_id: str) -> str | None:
        """The run's execution as SVG; None where Step Functions knows none (moto forgets when the stack goes down)."""
        from chalicelib import executions, graph

        arn = executions.arn(self._resources.state_machine_arn, run_id)
        try:
            execution = executions.read(client("stepfunctions", self._resources.endpoint), arn)
        except NotFound:
            return None
        return graph.svg(execution.definition, execution)

    def emails(self) -> list[dict]:
        """What was published to topics, oldest first, the local stage's before those of deployed ones.

        Each with message_id, to, subject, message.
        """
        backend = sns_backends[ACCOUNT][REGION]
        addresses = defaultdict(list)
        for subscription in list(backend.subscriptions.values()):
            if subscription.protocol == "email":
                addresses[subscription.topic.arn].append(subscription.endpoint)
        return [
            {"message_id": message_id, "to": addresses[topic.arn], "subject": subject, "message": message}
            for topic in list(backend.topics.values())
            for message_id, message, subject, *_ in topic.sent_notifications
        ]
