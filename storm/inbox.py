"""The lane whose runs are started by what is put into its inbox: S3 tells a queue, StartRun reads that."""

from __future__ import annotations

import json

from botocore.exceptions import ClientError

from storm import truth
from storm.checks import expect
from storm.plan import Trial
from storm.stack import LOST, Ended, StormStack

STARTED_SECONDS = 120  # StartRun is given a message again after up to 5 s, five times


class Inbox:
    """`file` is put there, and each execution that comes of it is seen once."""

    def __init__(self, stack: StormStack, lane: str, seed: int):
        self._stack, self._lane, self._seed = stack, lane, seed
        self._seen: set[str] = set()
        self._told = ""

    def key(self, trial: Trial) -> str:
        return f"inbox/{self._lane}/in{trial.mark}rows.ndjson"

    def put(self, trial: Trial) -> list[Ended]:
        """The executions that its file made, ended. One that was lost with the engine is LOST."""
        pages = [
            truth.pages(self._seed, self._lane, day)[number]
            for day in truth.days(*truth.window(trial.place))
            for number in range(truth.PAGES)
        ]
        body = "".join(json.dumps(row) + "\n" for page in pages for row in page)
        engine, bucket = self._stack.generation, self._stack.env["SLUICE_BUCKET"]
        etag = self._stack.call("s3", "put_object", Bucket=bucket, Key=self.key(trial), Body=body.encode())["ETag"]
        about = {"key": self.key(trial), "eTag": etag.strip('"'), "size": len(body)}
        event = {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": bucket}, "object": about}}
        self._told = json.dumps({"Records": [event]})
        for fault in trial.faults:
            if fault.values.get("action") == "twice":
                for _ in range(1, fault.values["count"]):
                    self._deliver()
        return self._ended(trial, engine)

    def again(self, trial: Trial) -> list[Ended]:
        """S3's event is delivered once more: what failed is tried again, what stands is left alone."""
        engine = self._stack.generation
        self._deliver()
        return self._ended(trial, engine)

    def saw(self, ended: list[Ended]) -> list[Ended]:
        """They are none of those that come of a later event."""
        self._seen |= {one.run_id for one in ended}
        return ended

    def _deliver(self) -> None:
        """Until the queue has taken it, as S3 does: a fault of SQS may strike this very call."""
        taken = self._stack.waits.until("SQS to take the event", self._is_taken, STARTED_SECONDS)
        expect(taken, f"SQS did not take the event in {STARTED_SECONDS} s")

    def _is_taken(self) -> bool:
        queue = self._stack.env["SLUICE_TRIGGERS_URL"]
        try:
            self._stack.call("sqs", "send_message", QueueUrl=queue, MessageBody=self._told)
        except ClientError:
            return False
        return True

    def _ended(self, trial: Trial, engine: int) -> list[Ended]:
        settled = self._stack.waits.until(f"the trigger of {self.key(trial)}", self._is_settled, STARTED_SECONDS)
        expect(settled, f"the trigger of {self.key(trial)} is neither done nor given up after {STARTED_SECONDS} s")
        arns = sorted(arn for arn in self._stack.executions(trial.mark) if arn.rsplit(":", 1)[1] not in self._seen)
        ended = self.saw([self._stack.wait(arn) for arn in arns])
        if not ended and self._stack.generation != engine:
            return [Ended(f"{trial.name}lost", LOST)]
        if not ended:
            given_up = [body for body in self._stack.undelivered() if self.key(trial) in body]
            expect(given_up, f"{self.key(trial)} started no run, and its event is not among the undelivered")
        # a run that failed is tried again where its event comes again; one that did not stands for all of them
        failed = sum(one.status != "SUCCEEDED" for one in ended)
        expect(len(ended) <= failed + 1, f"{self.key(trial)} started {len(ended)} runs, of which {failed} failed")
        return ended

    def _is_settled(self) -> bool:
        queue = self._stack.env["SLUICE_TRIGGERS_URL"]
        found = self._stack.call("sqs", "get_queue_attributes", QueueUrl=queue, AttributeNames=["All"])["Attributes"]
        return not any(int(number) for name, number in found.items() if name.startswith("ApproximateNumberOfMessages"))
