"""An object of the inbox: where it is, what it is known by, the source whose folder it is in."""

from __future__ import annotations

from dataclasses import dataclass

from chalicelib.lake import keys


@dataclass(frozen=True)
class InboxObject:
    """`version` is its version's id, or its ETag in a bucket without versions."""

    bucket: str
    key: str
    version: str
    bytes: int

    @property
    def address(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    @property
    def source(self) -> str | None:
        """The folder of the inbox that it is in; None where it is in none."""
        folder, slash, _ = self.key.removeprefix(keys.INBOX).partition("/")
        return folder if slash and self.key.startswith(keys.INBOX) else None

    @property
    def is_folder(self) -> bool:
        """Whether it is the placeholder that consoles make for a folder."""
        return self.key.endswith("/") and not self.bytes

    @classmethod
    def described(cls, bucket: str, key: str, about: dict) -> InboxObject:
        """The object that HeadObject tells `about`."""
        known_by = cls.known_by(about.get("VersionId"), about["ETag"].strip('"'))
        return cls(bucket, key, known_by, about["ContentLength"])

    @staticmethod
    def known_by(version_id: str | None, etag: str) -> str:
        """Its `version`: S3 says no version, or "null", in a bucket that keeps none."""
        return version_id if version_id and version_id != "null" else etag
