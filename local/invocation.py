"""One invocation inside a worker: the Lambda context, the handler, the answer as JSON text.

Formats and messages are those of AWS' managed Python runtime (aws-lambda-python-runtime-interface-client
and https://docs.aws.amazon.com/lambda/latest/dg/python-exceptions.html).
"""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html: 6 MB, and 100 bytes more for responses
REQUEST_BYTES = 6 * 1024 * 1024
RESPONSE_BYTES = REQUEST_BYTES + 100


@dataclass(frozen=True)
class Invocation:
    """What a worker is told about an invocation; `payload` is JSON text."""

    function: str
    full_name: str
    arn: str
    request_id: str
    timeout: float  # seconds
    memory_size: int  # MB
    environment: dict[str, str]
    log_stream: str
    payload: bytes = field(default=b"{}", repr=False)


class Context:
    """The second argument of a handler, https://docs.aws.amazon.com/lambda/latest/dg/python-context.html."""

    function_version = "$LATEST"
    identity = None
    client_context = None
    tenant_id = None

    def __init__(self, invocation: Invocation):
        self.function_name = invocation.full_name
        self.invoked_function_arn = invocation.arn
        self.memory_limit_in_mb = str(invocation.memory_size)
        self.aws_request_id = invocation.request_id
        self.log_group_name = f"/aws/lambda/{invocation.full_name}"
        self.log_stream_name = invocation.log_stream
        self._deadline = time.monotonic() + invocation.timeout

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self._deadline - time.monotonic()) * 1000))

    def log(self, message) -> None:
        print(message, flush=True)


def environment(invocation: Invocation) -> dict[str, str]:
    """The variables that Lambda sets for a function, by
    https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html."""
    return {
        **invocation.environment,
        "AWS_LAMBDA_FUNCTION_NAME": invocation.full_name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(invocation.memory_size),
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{invocation.full_name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": invocation.log_stream,
    }


def run(handler: Callable, invocation: Invocation) -> tuple[bool, bytes]:
    """(succeeded, JSON text). SystemExit passes: it ends the process, as it does on Lambda."""
    try:
        result = handler(json.loads(invocation.payload), Context(invocation))
    except Exception as error:
        return False, failure(
            str(error), type(error).__name__, invocation.request_id, traceback.format_tb(error.__traceback__)[1:]
        )
    try:
        body = json.dumps(result).encode()
    except (TypeError, ValueError) as error:
        return False, failure(f"Unable to marshal response: {error}", "Runtime.MarshalError", invocation.request_id)
    if len(body) > RESPONSE_BYTES:
        return False, failure(
            f"Response payload size ({len(body)} bytes) exceeded maximum allowed payload size "
            f"({RESPONSE_BYTES} bytes).",
            "Function.ResponseSizeTooLarge",
        )
    return True, body


def failure(message: str, kind: str, request_id: str | None = None, stack: list[str] | None = None) -> bytes:
    """A function error's body, as JSON text."""
    body: Mapping = {"errorMessage": message, "errorType": kind}
    if request_id is not None:
        body = {**body, "requestId": request_id, "stackTrace": stack or []}
    return json.dumps(body).encode()


def report(log: Path, invocation: Invocation, message: str) -> None:
    """What Lambda itself, not the handler, has to say goes to the handlers' log."""
    line = {
        "level": "ERROR",
        "message": message,
        "function_name": invocation.full_name,
        "function_request_id": invocation.request_id,
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    with log.open("a") as lines:
        lines.write(json.dumps(line) + "\n")
