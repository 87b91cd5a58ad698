"""What `chalice deploy` asks of AWS and moto 5.2.5 refuses: each correction a function that says what and why.

`apply` is called once, before moto serves.
"""

from __future__ import annotations

import functools
import re

from moto.apigateway.models import APIGatewayBackend
from moto.s3.responses import S3Response

_FILTER = re.compile(r"<Name>\s*(prefix|suffix)\s*</Name>", re.IGNORECASE)


@functools.cache
def apply() -> None:
    """Make every correction, once per process."""
    for correct in (names_of_filters, swagger_documents):
        correct()


def names_of_filters() -> None:
    """A notification's filter named `Prefix`, as Chalice writes it, breaks an assertion; S3 takes either case.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_FilterRule.html
    """
    original = S3Response._notification_config_from_body

    @functools.wraps(original)
    def _notification_config_from_body(self):
        text = self.body.decode() if isinstance(self.body, bytes) else self.body
        self.body = _FILTER.sub(lambda found: f"<Name>{found[1].lower()}</Name>", text)
        return original(self)

    S3Response._notification_config_from_body = _notification_config_from_body


def swagger_documents() -> None:
    """ImportRestApi and PutRestApi refuse Swagger 2.0, which is what Chalice writes; API Gateway takes both.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-import-api.html
    What moto reads of a document, paths and `x-amazon-apigateway-integration`, is alike in both.
    """
    importing, putting = APIGatewayBackend.import_rest_api, APIGatewayBackend.put_rest_api

    @functools.wraps(importing)
    def import_rest_api(self, api_doc, fail_on_warnings):
        about = {"description": "", **api_doc.get("info", {})}
        return importing(self, {**api_doc, "info": about}, False)

    @functools.wraps(putting)
    def put_rest_api(self, function_id, api_doc, fail_on_warnings, mode="merge"):
        document = {name: value for name, value in api_doc.items() if name != "swagger"}
        document["paths"] = {path: _methods(about) for path, about in api_doc.get("paths", {}).items()}
        return putting(self, function_id, document, False, mode)

    APIGatewayBackend.import_rest_api = import_rest_api
    APIGatewayBackend.put_rest_api = put_rest_api


def _methods(about: dict) -> dict:
    """A path's methods; what else may stand there is none, and moto would make it one."""
    return {name: value for name, value in about.items() if name != "parameters" and not name.startswith("x-")}
