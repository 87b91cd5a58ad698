"""What the stack shows of itself: the pages that alerts link to, and the emails that SNS would have sent."""

from __future__ import annotations

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
        """What was published to the alerts' topic, oldest first: message_id, to, subject, message."""
        topic = sns_backends[ACCOUNT][REGION].topics[self._resources.topic_arn]
        to = [
            found.endpoint
            for found in sns_backends[ACCOUNT][REGION].subscriptions.values()
            if found.protocol == "email" and found.topic.arn == topic.arn
        ]
        return [
            {"message_id": message_id, "to": to, "subject": subject, "message": message}
            for message_id, message, subject, *_ in topic.sent_notifications
        ]
