"""RecordChunkFailure: a chunk's error, where QualityGate finds it."""

from __future__ import annotations

from chalicelib import container_result
from chalicelib import settings as settings_module
from chalicelib.contracts import RecordChunkFailureRequest, RecordChunkFailureResult
from chalicelib.lake import Lake, keys


def record_chunk_failure(request: RecordChunkFailureRequest) -> RecordChunkFailureResult:
    settings = settings_module.current()
    settings.require("bucket")
    lake = Lake(settings.bucket)
    key = keys.chunk(request.run_id, request.chunk.chunk, keys.FAILURE)
    lake.put_json(key, container_result.own_error(lake, request.run_id, request.error, chunk=request.chunk.chunk))
    return RecordChunkFailureResult(chunk=request.chunk.chunk, failure_key=key)
