"""What a role may not do, refused where botocore sends a call: in a sandbox's process, and for the state machine.

A sandbox loads this file by its path; it imports nothing of the project. An operation that
`local.iam` does not know fails with that module's PolicyError: better loud than allowed.
"""

from __future__ import annotations

# the errors of services that do not say AccessDeniedException, and the status of JSON services is 400
_CODES = {"s3": ("AccessDenied", 403), "sns": ("AuthorizationError", 403), "sqs": ("AccessDenied", 403)}
_OTHERS = ("AccessDeniedException", 400)

# Of a missing object S3 says so only to those who may list the bucket; to others it says AccessDenied:
# https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html. Such a request has no prefix, so who may list
# some prefixes only may not.
_ASKING = {"GetObject": "NoSuchKey", "HeadObject": "404"}


def is_missing(service: str, operation: str, code: str) -> bool:
    """Whether the error `code` says that an object is not there."""
    return service == "s3" and code == _ASKING.get(operation)


def enforce(iam, policies: list, place: dict) -> None:
    """Let every client of this process, made before or after, do only what `policies` allow.

    `iam` is the module `local.iam`; `place` has the fields of its Place.
    """
    from botocore.client import BaseClient
    from botocore.exceptions import ClientError

    original = BaseClient._make_api_call
    where = iam.Place(**place)

    def make_api_call(self, operation_name, api_params):
        service = self.meta.service_model.service_name
        if need := iam.refused(policies, service, operation_name, api_params, where):
            raise refusal(service, operation_name, need)
        try:
            return original(self, operation_name, api_params)
        except ClientError as error:
            missing = is_missing(service, operation_name, error.response["Error"]["Code"])
            bucket = f"arn:{where.partition}:s3:::{api_params.get('Bucket')}"
            if missing and not iam.allows(policies, "s3:ListBucket", bucket):
                raise refusal(service, operation_name, iam.Need("s3:ListBucket", bucket)) from None
            raise

    BaseClient._make_api_call = make_api_call


def refusal(service: str, operation: str, need) -> Exception:
    """The error that the service answers with."""
    from botocore.exceptions import ClientError

    code, status = _CODES.get(service, _OTHERS)
    message = (
        f"User is not authorized to perform: {need.action} on resource: {need.resource} "
        f"because no identity-based policy allows the {need.action} action"
    )
    if operation.startswith("Head"):  # its answer has no body
        code, message = "403", "Forbidden"
    metadata = {"HTTPStatusCode": status, "RequestId": "", "RetryAttempts": 0}
    return ClientError({"Error": {"Code": code, "Message": message}, "ResponseMetadata": metadata}, operation)
