"""What taking webhooks in asks of S3 and moto 5.2.5 gets wrong. `apply` is called once, before moto serves."""

from __future__ import annotations

import functools
import threading

from moto.s3.responses import S3Response


@functools.cache
def apply() -> None:
    """Make every correction, once per process."""
    conditional_writes()


def conditional_writes() -> None:
    """Of several writes at once with `If-None-Match: *` one succeeds; moto looks first and writes later.

    Of 20 races of 16 writers, 3 had two winners.
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
    """
    original = S3Response.put_object
    one_at_a_time = threading.Lock()

    @functools.wraps(original)
    def put_object(self):
        if self.headers.get("If-None-Match") != "*":
            return original(self)
        with one_at_a_time:
            return original(self)

    S3Response.put_object = put_object
