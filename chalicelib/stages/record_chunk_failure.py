"""RecordChunkFailure: a chunk's error, where QualityGate finds it."""

from __future__ import annotations

from chalicelib import settings as settings_module
from chalicelib.contracts import RecordChunkFailureRequest, RecordChunkFailureResult
from chalicelib.lake import Lake, keys


def record_chunk_failure(request: RecordChunkFailureRequest) -> RecordChunkFailureResult:
    settings = settings_module.current()
    settings.require("bucket")
    key = keys.chunk(request.run_id, request.chunk.chunk, "failure.json")
    Lake(settings.bucket).put_json(key, request.error)
    return RecordChunkFailureResult(chunk=request.chunk.chunk, failure_key=key)
