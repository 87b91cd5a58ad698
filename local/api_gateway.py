"""API Gateway's part of a REST API: an HTTP request becomes Lambda's proxy event, its answer an HTTP response.

Formats, limits and the bodies of its own refusals are those of API Gateway's REST APIs:
https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-payload-encodings.html
https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-use-lambda-authorizer.html
https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-lambda-authorizer-output.html
https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html
https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html

Unlike there, an authorizer's answer is not kept: each request asks again.
"""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, TimeoutError
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote

from werkzeug.wrappers import Request, Response

from local.functions import ACCOUNT, API_HANDLER, REGION
from local.iam import matches
from local.runtime import RequestTooLarge, Result, UnknownFunction
from local.worker import ROUTES

LARGEST = 10 * 1024 * 1024
SECONDS = 29

Invoke = Callable[[str, bytes], Result]


@dataclass(frozen=True)
class Route:
    """A method of a path such as `/webhooks/{source}`; functions by name or ARN."""

    path: str
    method: str
    function: str
    authorizer: str | None = None
    asks_for_key: bool = False


@dataclass(frozen=True)
class Api:
    """What there is to call; `id` and `stage` are part of the ARNs that authorizers are asked about.

    `keys` are the API keys of its usage plans, whose quotas are not counted here.
    """

    routes: tuple[Route, ...]
    binary_types: tuple[str, ...] = ()
    id: str = "local"
    stage: str = "api"
    keys: frozenset[str] = frozenset()

    def is_binary(self, media_type: str) -> bool:
        return media_type in self.binary_types or "*/*" in self.binary_types

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """The route and what stands for its parameters; a literal path goes before one with parameters."""
        parts = path.rstrip("/").split("/")
        found = []
        for route in self.routes:
            wanted = route.path.rstrip("/").split("/")
            if route.method != method or len(wanted) != len(parts):
                continue
            pairs = list(zip(wanted, parts, strict=True))
            if all(name == part or (name.startswith("{") and part) for name, part in pairs):
                found.append((route, {name[1:-1]: unquote(part) for name, part in pairs if name.startswith("{")}))
        return min(found, key=lambda pair: len(pair[1]), default=None)


class Refused(Exception):
    """API Gateway answers by itself."""

    def __init__(self, status: int, kind: str, document: dict):
        super().__init__(kind)
        self.response = Response(json.dumps(document), status, content_type="application/json")
        self.response.headers["x-amzn-ErrorType"] = kind


class ApiGateway:
    """Answers requests; `invoke` runs a function on JSON text."""

    def __init__(self, invoke: Invoke):
        self._invoke_function = invoke
        self._pool = ThreadPoolExecutor(128, thread_name_prefix="api-gateway")

    def answer(self, api: Api, request: Request, path: str) -> Response:
        """`path` is the request's below the stage, percent-encoded."""
        request_id = str(uuid.uuid4())
        try:
            response = self._answer(api, request, path, request_id)
        except Refused as refused:
            response = refused.response
        response.headers["x-amzn-RequestId"] = request_id
        return response

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _answer(self, api: Api, request: Request, path: str, request_id: str) -> Response:
        # a request may come in chunks, without telling its length
        if (request.content_length or 0) > LARGEST or len(request.get_data()) > LARGEST:
            raise Refused(413, "RequestTooLarge", {"message": "Request Too Long"})
        found = api.find(request.method, path)
        if found is None:
            raise Refused(403, "MissingAuthenticationTokenException", {"message": "Missing Authentication Token"})
        route, parameters = found
        event = _event(api, route, parameters, request, path, request_id)
        if route.authorizer:
            event["requestContext"]["authorizer"] = self._authorize(api, route, request, path)
        if route.asks_for_key and request.headers.get("X-Api-Key") not in api.keys:
            raise Refused(403, "ForbiddenException", {"message": "Forbidden"})
        try:
            result = self._call(route.function, event)
        except TimeoutError:
            raise Refused(504, "IntegrationTimeout", {"message": "Endpoint request timed out"}) from None
        except RequestTooLarge:
            raise Refused(413, "RequestTooLarge", {"message": "Request Too Long"}) from None
        except UnknownFunction:
            raise Refused(500, "InternalServerErrorException", {"message": "Internal server error"}) from None
        try:
            return _response(result, api.is_binary(_first_accepted(request)))
        except (ValueError, TypeError, KeyError, AttributeError):
            raise Refused(502, "InternalServerErrorException", {"message": "Internal server error"}) from None

    def _call(self, function: str, event: dict) -> Result:
        """The time counts from the request on, also while the laptop's workers are busy."""
        return self._pool.submit(self._invoke_function, function, json.dumps(event).encode()).result(SECONDS)

    def _authorize(self, api: Api, route: Route, request: Request, path: str) -> dict:
        """What the authorizer says of the caller, where it lets them in."""
        token = request.headers.get("Authorization")
        if not token:
            raise Refused(401, "UnauthorizedException", {"message": "Unauthorized"})
        arn = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{api.id}/{api.stage}/{request.method}/{path.strip('/')}"
        try:
            result = self._call(route.authorizer, {"type": "TOKEN", "authorizationToken": token, "methodArn": arn})
            answer = json.loads(result.payload)
            if result.error and answer.get("errorMessage") == "Unauthorized":
                raise Refused(401, "UnauthorizedException", {"message": "Unauthorized"})
            if result.error or not all(s["Resource"] for s in answer["policyDocument"]["Statement"]):
                raise ValueError
            effects = {s["Effect"] for s in answer["policyDocument"]["Statement"] if _is_about(s, arn)}
            context = {name: _as_text(value) for name, value in (answer.get("context") or {}).items()}
            context["principalId"] = answer["principalId"]
        except (ValueError, TypeError, AttributeError, LookupError, TimeoutError):
            raise Refused(500, "AuthorizerConfigurationException", {"message": None}) from None
        if "Deny" in effects or "Allow" not in effects:
            told = "User is not authorized to access this resource"
            told += " with an explicit deny" if "Deny" in effects else ""
            raise Refused(403, "AccessDeniedException", {"Message": told})
        return context


def _is_about(statement: Mapping, arn: str) -> bool:
    def listed(value):
        return [value] if isinstance(value, str) else value

    actions = any(matches(action.lower(), "execute-api:invoke") for action in listed(statement["Action"]))
    return actions and any(matches(resource, arn) for resource in listed(statement["Resource"]))


def _as_text(value: object) -> str:
    """A value of an authorizer's context as the function sees it; raises TypeError for an object or array."""
    if not isinstance(value, str | int | float):
        raise TypeError(value)
    return value if isinstance(value, str) else json.dumps(value)


def _first_accepted(request: Request) -> str:
    """The media type that the Accept header names first, whatever the weights say."""
    return request.headers.get("Accept", "").split(",")[0].split(";")[0].strip().lower()


def _event(api: Api, route: Route, parameters: dict, request: Request, path: str, request_id: str) -> dict:
    body, encoded = request.get_data(), False
    if body and api.is_binary(request.mimetype):
        text, encoded = base64.b64encode(body).decode(), True
    else:
        # API Gateway hands text on: what is not UTF-8 is replaced
        text = body.decode(errors="replace") if body else None
    headers: dict[str, list[str]] = {}
    for name, value in request.headers.items():
        headers.setdefault(name, []).append(value)
    query = parse_qs(request.query_string.decode(), keep_blank_values=True)
    return {
        "resource": route.path,
        "path": path,
        "httpMethod": request.method,
        "headers": {name: values[-1] for name, values in headers.items()},
        "multiValueHeaders": headers,
        "queryStringParameters": {name: values[-1] for name, values in query.items()} or None,
        "multiValueQueryStringParameters": query or None,
        "pathParameters": parameters or None,
        "stageVariables": None,
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": api.id,
            "httpMethod": request.method,
            "identity": {"sourceIp": request.remote_addr, "userAgent": request.headers.get("User-Agent")},
            "path": f"/{api.stage}{path}",
            "protocol": "HTTP/1.1",
            "requestId": request_id,
            "requestTimeEpoch": int(time.time() * 1000),
            "resourcePath": route.path,
            "stage": api.stage,
        },
        "body": text,
        "isBase64Encoded": encoded,
    }


def _response(result: Result, binary: bool) -> Response:
    """`binary` says that the client accepts a binary body: any other goes out as the function gave it, Base64 too.

    Raises ValueError or another for an answer that is not of the form that a proxy integration has.
    """
    if result.error:
        raise ValueError(result.payload)
    answer = json.loads(result.payload)
    body = answer.get("body") or ""
    content = base64.b64decode(body, validate=True) if binary and answer.get("isBase64Encoded") else body.encode()
    response = Response(content, int(answer["statusCode"]))
    response.headers["Content-Type"] = "application/json"
    for name, value in (answer.get("headers") or {}).items():
        response.headers[name] = str(value)
    for name, values in (answer.get("multiValueHeaders") or {}).items():
        if not isinstance(values, list):
            raise TypeError(values)
        response.headers.pop(name, None)
        for value in values:
            response.headers.add(name, str(value))
    return response


class OwnApi:
    """A WSGI application: the API of the working tree. `clock` in seconds."""

    FRESH = 1.0  # seconds for which the routes are those that were asked for last

    def __init__(self, gateway: ApiGateway, invoke: Invoke, clock: Callable[[], float] = time.monotonic):
        self._gateway, self._invoke, self._clock = gateway, invoke, clock
        self._api, self._asked = Api(()), float("-inf")

    def __call__(self, environ, start_response):
        request = Request(environ)
        response = self._gateway.answer(self._known(), request, raw_path(environ))
        return response(environ, start_response)

    def _known(self) -> Api:
        if self._clock() - self._asked > self.FRESH:
            result = self._invoke(ROUTES, b"{}")
            if not result.error:  # else what answers says what is wrong with the application
                self._api, self._asked = of_description(json.loads(result.payload)), self._clock()
        return self._api


def raw_path(environ: Mapping) -> str:
    """The request's path as it was sent, percent-encoded."""
    return environ.get("RAW_URI", environ["PATH_INFO"]).partition("?")[0]


# --- which routes there are ----------------------------------------------------------------------


def of_document(document: Mapping, api_id: str, stage: str, keys: frozenset[str] = frozenset()) -> Api:
    """The API that a Swagger document with Amazon's extensions describes, as Chalice writes it."""
    authorizers = {
        name: _function(about["x-amazon-apigateway-authorizer"]["authorizerUri"])
        for name, about in document.get("securityDefinitions", {}).items()
        if "x-amazon-apigateway-authorizer" in about
    }
    routes = [
        Route(
            path,
            method.upper(),
            _function(about["x-amazon-apigateway-integration"]["uri"]),
            _guard(about, authorizers),
            any("api_key" in each for each in about.get("security", ())),
        )
        for path, methods in document.get("paths", {}).items()
        for method, about in methods.items()
        if "uri" in about.get("x-amazon-apigateway-integration", {})
    ]
    return Api(tuple(routes), tuple(document.get("x-amazon-apigateway-binary-media-types", ())), api_id, stage, keys)


def _guard(about: Mapping, authorizers: Mapping[str, str]) -> str | None:
    names = [name for each in about.get("security", ()) for name in each]
    return next((authorizers[name] for name in names if name in authorizers), None)


def _function(uri: str) -> str:
    """The function's ARN in an integration's URI."""
    return uri.split("/functions/")[1].removesuffix("/invocations")


def of_description(description: Mapping) -> Api:
    """The working tree's own, as a worker describes it: see `local.worker.describe`."""
    routes = [Route(r["path"], r["method"], API_HANDLER, r["authorizer"]) for r in description["routes"]]
    return Api(tuple(routes), tuple(description["binary_types"]))
