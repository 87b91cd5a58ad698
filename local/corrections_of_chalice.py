"""What `chalice deploy` asks of AWS and moto 5.2.5 refuses: each correction a function that says what and why.

`apply` is called once, before moto serves.
"""

from __future__ import annotations

import functools
import re

from moto.apigateway.models import APIGatewayBackend, RestAPI, apigateway_backends
from moto.s3.responses import S3Response

from local.api_gateway import Api, of_document
from local.functions import ACCOUNT, REGION

_FILTER = re.compile(r"<Name>\s*(prefix|suffix)\s*</Name>", re.IGNORECASE)


@functools.cache
def apply() -> None:
    """Make every correction, once per process."""
    for correct in (names_of_filters, swagger_documents, settings_of_stages):
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
        made = importing(self, {**api_doc, "info": about}, False)
        made.document = api_doc
        return made

    @functools.wraps(putting)
    def put_rest_api(self, function_id, api_doc, fail_on_warnings, mode="merge"):
        document = {name: value for name, value in api_doc.items() if name != "swagger"}
        document["paths"] = {path: _methods(about) for path, about in api_doc.get("paths", {}).items()}
        made = putting(self, function_id, document, False, mode)
        made.document = api_doc
        return made

    APIGatewayBackend.import_rest_api = import_rest_api
    APIGatewayBackend.put_rest_api = put_rest_api


def settings_of_stages() -> None:
    """A deployment to a stage makes the stage anew, without throttling and log; in API Gateway its settings stay.

    https://docs.aws.amazon.com/apigateway/latest/api/API_CreateDeployment.html
    """
    original = RestAPI.create_deployment

    @functools.wraps(original)
    def create_deployment(self, name, description, stage_variables=None):
        before = self.stages.get(name)
        made = original(self, name, description, stage_variables)
        if before is not None:
            self.stages[name].method_settings = before.method_settings
            self.stages[name].access_log_settings = before.access_log_settings
        return made

    RestAPI.create_deployment = create_deployment


def deployed_api(api_id: str, stage: str) -> Api | None:
    """What a deployment of this account serves; None where there is none.

    From the document that was imported: moto keeps neither its authorizers nor its binary types. Unlike
    API Gateway, a change of the API is served before it is deployed.
    """
    api = apigateway_backends[ACCOUNT][REGION].apis.get(api_id)
    if api is None or stage not in api.stages or not hasattr(api, "document"):
        return None
    return of_document(api.document, api_id, stage, _keys(api_id, stage))


def _keys(api_id: str, stage: str) -> frozenset[str]:
    """Values of the enabled API keys of the usage plans of a stage."""
    backend = apigateway_backends[ACCOUNT][REGION]
    plans = [plan.id for plan in backend.usage_plans.values() if {"apiId": api_id, "stage": stage} in plan.api_stages]
    names = {name for plan in plans for name in backend.usage_plan_keys.get(plan, {})}
    return frozenset(backend.keys[name].value for name in names if name in backend.keys and backend.keys[name].enabled)


def _methods(about: dict) -> dict:
    """A path's methods; what else may stand there is none, and moto would make it one."""
    return {name: value for name, value in about.items() if name != "parameters" and not name.startswith("x-")}
