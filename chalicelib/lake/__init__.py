"""The S3 bucket: raw objects, what a run leaves behind, and the names of both."""

from chalicelib.lake.store import Lake

__all__ = ["Lake"]
