"""API Gateway's part on the laptop: which request reaches which function, as which event, and what it refuses."""

import base64
import json
import threading

import pytest
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from local import api_gateway
from local.api_gateway import Api, ApiGateway, OwnApi, Route, of_document, raw_path
from local.runtime import RequestTooLarge, Result, UnknownFunction

ARN = "arn:aws:execute-api:us-east-1:123456789012:local/api/POST/runs"
ROUTES = (
    Route("/", "GET", "root"),
    Route("/runs", "POST", "start", "guard"),
    Route("/tables/{table}", "GET", "table"),
    Route("/tables/names", "GET", "names"),
    Route("/tables/{table}/rows/{key}", "GET", "row"),
    Route("/webhooks/{source}", "POST", "webhook"),
)
API = Api(ROUTES, ("application/octet-stream",))


def answering(document):
    return Result(json.dumps(document).encode(), None, "id")


def policy(effect="Allow", resource="*", action="execute-api:Invoke", **more):
    statement = {"Action": action, "Effect": effect, "Resource": resource}
    return {"principalId": "ada", "policyDocument": {"Version": "2012-10-17", "Statement": [statement]}, **more}


class Functions:
    """Functions that answer what they are told to: a document, a Result, or what is raised."""

    def __init__(self, **answers):
        self.answers = answers
        self.events = []  # (function, event)

    def __call__(self, function, payload):
        self.events.append((function, json.loads(payload)))
        answer = self.answers.get(function, {"statusCode": 200})
        if isinstance(answer, BaseException):
            raise answer
        if callable(answer):
            answer = answer()
        return answer if isinstance(answer, Result) else answering(answer)

    @property
    def event(self):
        return self.events[-1][1]


@pytest.fixture
def ask():
    """ask(functions, method, path, **fields of a request): the response."""
    opened = []

    def asked(functions, method="GET", path="/", api=API, **fields):
        gateway = ApiGateway(functions)
        opened.append(gateway)
        request = Request(EnvironBuilder(path.partition("?")[0], method=method, **fields).get_environ())
        if "?" in path:
            request.environ["QUERY_STRING"] = path.partition("?")[2]
            request = Request(request.environ)
        return gateway.answer(api, request, path.partition("?")[0])

    yield asked
    for gateway in opened:
        gateway.close()


# --- which function, as which event ----------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "function", "parameters"),
    [
        ("GET", "/", "root", None),
        ("GET", "/tables/orders", "table", {"table": "orders"}),
        ("GET", "/tables/orders/", "table", {"table": "orders"}),
        ("GET", "/tables/names", "names", None),
        ("GET", "/tables/names/rows/1", "row", {"table": "names", "key": "1"}),
        ("GET", "/tables/a%20b/rows/x%2Fy%3F", "row", {"table": "a b", "key": "x/y?"}),
        ("GET", "/tables/caf%C3%A9", "table", {"table": "café"}),
    ],
    ids=["root", "one", "slash-at-the-end", "literal-first", "two", "escapes", "utf-8"],
)
def test_a_request_reaches_its_function_with_the_parameters_of_its_path(ask, method, path, function, parameters):
    functions = Functions()
    assert ask(functions, method, path).status_code == 200
    assert functions.events[0][0] == function
    assert functions.event["pathParameters"] == parameters
    assert functions.event["path"] == path
    assert functions.event["requestContext"]["path"] == f"/api{path}"
    assert functions.event["resource"] == functions.event["requestContext"]["resourcePath"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/nothing"), ("DELETE", "/tables/orders"), ("GET", "/tables/"), ("GET", "/tables/a/rows")],
)
def test_what_no_route_takes_is_refused_as_if_a_token_were_missing(ask, method, path):
    functions = Functions()
    response = ask(functions, method, path)
    assert (response.status_code, response.json) == (403, {"message": "Missing Authentication Token"})
    assert response.headers["x-amzn-ErrorType"] == "MissingAuthenticationTokenException"
    assert functions.events == []


def test_headers_and_query_strings_come_with_their_last_and_with_all_their_values(ask):
    functions = Functions()
    headers = [("X-Many", "one"), ("X-Many", "two"), ("User-Agent", "curl")]
    ask(functions, path="/tables/orders?city=Oslo&city=Lima&empty=&text=a%26b+c", headers=headers)
    event = functions.event
    assert event["queryStringParameters"] == {"city": "Lima", "empty": "", "text": "a&b c"}
    assert event["multiValueQueryStringParameters"] == {"city": ["Oslo", "Lima"], "empty": [""], "text": ["a&b c"]}
    # unlike on AWS: WSGI has one text for headers of one name
    assert event["multiValueHeaders"]["X-Many"] == [event["headers"]["X-Many"]] == ["one, two"]
    assert event["requestContext"]["identity"]["userAgent"] == "curl"
    ask(functions, path="/tables/orders")
    assert functions.event["queryStringParameters"] is functions.event["multiValueQueryStringParameters"] is None


@pytest.mark.parametrize(
    ("media_type", "sent", "body", "encoded"),
    [
        ("application/json", b'{"a": 1}', '{"a": 1}', False),
        ("application/json", "café".encode(), "café", False),
        ("application/json", b"caf\xe9", "caf\ufffd", False),
        ("application/octet-stream", b"\x00\xff", base64.b64encode(b"\x00\xff").decode(), True),
        ("application/octet-stream; charset=x", b"\xff", base64.b64encode(b"\xff").decode(), True),
        ("application/octet-stream", b"", None, False),
    ],
    ids=["text", "utf-8", "no-utf-8", "binary", "with-a-parameter", "nothing"],
)
def test_a_body_is_text_or_base64_by_its_media_type(ask, media_type, sent, body, encoded):
    functions = Functions()
    ask(functions, "POST", "/webhooks/shop", data=sent, content_type=media_type)
    assert (functions.event["body"], functions.event["isBase64Encoded"]) == (body, encoded)


def test_with_any_type_binary_every_body_is_base64(ask):
    functions = Functions()
    ask(functions, "POST", "/webhooks/shop", Api(ROUTES, ("*/*",)), data=b"{}", content_type="application/json")
    assert (functions.event["body"], functions.event["isBase64Encoded"]) == ("e30=", True)


# --- what comes back -------------------------------------------------------------------------


def test_status_headers_and_body_are_the_functions(ask):
    answer = {
        "statusCode": "201",
        "headers": {"X-One": 1, "Content-Type": "text/plain", "X-Both": "replaced"},
        "multiValueHeaders": {"Set-Cookie": ["a=1", "b=2"], "X-Both": ["kept"]},
        "body": "café",
    }
    response = ask(Functions(root=answer))
    assert (response.status_code, response.data.decode()) == (201, "café")
    assert (response.headers["X-One"], response.headers["Content-Type"]) == ("1", "text/plain")
    assert response.headers.getlist("Set-Cookie") == ["a=1", "b=2"]
    assert response.headers.getlist("X-Both") == ["kept"]
    assert response.headers["x-amzn-RequestId"]


def test_an_answer_without_type_or_body_is_empty_json(ask):
    response = ask(Functions(root={"statusCode": 204, "body": None}))
    assert (response.status_code, response.data, response.content_type) == (204, b"", "application/json")


@pytest.mark.parametrize(
    ("accept", "binary"),
    [
        ("application/octet-stream", True),
        ("application/octet-stream;q=0.1, text/html", True),
        ("text/html, application/octet-stream", False),
        ("*/*", False),
        (None, False),
    ],
)
def test_base64_is_decoded_for_who_accepts_binary_first(ask, accept, binary):
    answer = {"statusCode": 200, "body": "AP8=", "isBase64Encoded": True}
    response = ask(Functions(root=answer), headers={"Accept": accept} if accept else {})
    assert response.data == (b"\x00\xff" if binary else b"AP8=")


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        "text",
        {},
        {"statusCode": "fine"},
        {"statusCode": 200, "body": {"an": "object"}},
        {"statusCode": 200, "headers": ["no", "object"]},
        {"statusCode": 200, "multiValueHeaders": {"X-One": "no list"}},
        {"statusCode": 200, "body": "no Base64!", "isBase64Encoded": True},
        Result(b"{no json", None, "id"),
        Result(b'{"errorMessage": "boom"}', "Unhandled", "id"),
    ],
    ids=lambda answer: repr(answer)[:40],
)
def test_a_malformed_answer_is_a_502_that_tells_nothing_of_it(ask, answer):
    response = ask(Functions(root=answer), headers={"Accept": "application/octet-stream"})
    assert (response.status_code, response.json) == (502, {"message": "Internal server error"})


def test_a_function_that_does_not_answer_in_time_is_a_504(ask, monkeypatch):
    monkeypatch.setattr(api_gateway, "SECONDS", 0.05)
    over = threading.Event()
    functions = Functions(root=over.wait, guard=over.wait)
    try:
        response = ask(functions)
        assert (response.status_code, response.json) == (504, {"message": "Endpoint request timed out"})
        # an authorizer that does not is a fault of the API's configuration
        assert ask(functions, "POST", "/runs", headers={"Authorization": "t"}).status_code == 500
    finally:
        over.set()


# --- limits ----------------------------------------------------------------------------------


def test_more_than_ten_megabytes_are_refused_before_any_function_is_asked(ask, monkeypatch):
    monkeypatch.setattr(api_gateway, "LARGEST", 10)
    functions = Functions()
    assert ask(functions, "POST", "/webhooks/shop", data=b"x" * 10).status_code == 200
    response = ask(functions, "POST", "/webhooks/shop", data=b"x" * 11)
    assert (response.status_code, response.json) == (413, {"message": "Request Too Long"})
    # in chunks, without a length
    environ = {"wsgi.input_terminated": True, "CONTENT_LENGTH": ""}
    response = ask(functions, "POST", "/webhooks/shop", data=b"x" * 11, environ_overrides=environ)
    assert response.status_code == 413
    assert len(functions.events) == 1


@pytest.mark.parametrize(
    ("raised", "status"),
    [(RequestTooLarge("7 MB"), 413), (UnknownFunction("root"), 500)],
    ids=["larger-than-lambda-takes", "no-such-function"],
)
def test_what_lambda_refuses_is_told_in_api_gateways_words(ask, raised, status):
    assert ask(Functions(root=raised)).status_code == status


# --- authorizers -----------------------------------------------------------------------------


def authorized(ask, guard, token="Bearer t"):
    functions = Functions(guard=guard)
    return ask(functions, "POST", "/runs", headers={"Authorization": token} if token else {}), functions


@pytest.mark.parametrize(
    "resource",
    ["*", ARN, ARN.replace("/POST/runs", "/*"), [ARN.replace("runs", "tables"), ARN]],
    ids=["any", "itself", "the-stage", "one-of-several"],
)
def test_who_is_allowed_comes_in_and_the_function_sees_who_it_is(ask, resource):
    about = {"scopes": "run", "count": 1, "admin": True}
    response, functions = authorized(ask, policy(resource=resource, context=about))
    assert response.status_code == 200
    assert functions.events[0] == ("guard", {"type": "TOKEN", "authorizationToken": "Bearer t", "methodArn": ARN})
    # numbers and booleans come as text
    context = {"principalId": "ada", "scopes": "run", "count": "1", "admin": "true"}
    assert functions.event["requestContext"]["authorizer"] == context


def test_a_function_without_authorizer_sees_none(ask):
    functions = Functions()
    ask(functions, headers={"Authorization": "Bearer t"})
    assert "authorizer" not in functions.event["requestContext"]


@pytest.mark.parametrize(
    ("guard", "told"),
    [
        (policy("Deny"), "User is not authorized to access this resource with an explicit deny"),
        (policy(resource=ARN.replace("POST", "GET")), "User is not authorized to access this resource"),
        (policy(action="execute-api:ManageConnections"), "User is not authorized to access this resource"),
        (
            policy()
            | {
                "policyDocument": {
                    "Statement": [s["policyDocument"]["Statement"][0] for s in (policy(), policy("Deny"))]
                }
            },
            "User is not authorized to access this resource with an explicit deny",
        ),
    ],
    ids=["denied", "another-method", "another-action", "deny-beats-allow"],
)
def test_who_is_not_allowed_is_refused_and_the_function_never_asked(ask, guard, told):
    response, functions = authorized(ask, guard)
    assert (response.status_code, response.json) == (403, {"Message": told})
    assert [function for function, _ in functions.events] == ["guard"]


def test_without_a_token_nobody_is_asked(ask):
    response, functions = authorized(ask, policy(), token=None)
    assert (response.status_code, response.json) == (401, {"message": "Unauthorized"})
    assert functions.events == []


def test_an_authorizer_that_raises_unauthorized_says_401(ask):
    raised = Result(b'{"errorMessage": "Unauthorized", "errorType": "Exception"}', "Unhandled", "id")
    response, _ = authorized(ask, raised)
    assert (response.status_code, response.json) == (401, {"message": "Unauthorized"})


@pytest.mark.parametrize(
    "guard",
    [
        Result(b'{"errorMessage": "boom"}', "Unhandled", "id"),
        Result(b"[1]", "Unhandled", "id"),
        Result(b"no json", None, "id"),
        None,
        {},
        {"principalId": "ada"},
        {"policyDocument": policy()["policyDocument"]},
        policy(resource=""),
        policy(context={"a": {"nested": "object"}}),
        policy(context={"a": ["list"]}),
        policy(context="no object"),
        UnknownFunction("guard"),
    ],
    ids=lambda guard: repr(guard)[-40:],
)
def test_an_authorizer_that_fails_or_answers_nonsense_is_a_500_and_lets_nobody_in(ask, guard):
    response, functions = authorized(ask, guard)
    assert (response.status_code, response.json) == (500, {"message": None})
    assert response.headers["x-amzn-ErrorType"] == "AuthorizerConfigurationException"
    assert [function for function, _ in functions.events] == ["guard"]


# --- API keys ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [([], 403), ([("X-Api-Key", "other")], 403), ([("X-Api-Key", "known")], 200)],
    ids=["none", "unknown", "known"],
)
def test_a_route_that_asks_for_an_api_key_takes_those_of_its_usage_plans(ask, headers, status):
    functions = Functions()
    api = Api((Route("/runs", "GET", "runs", asks_for_key=True),), keys=frozenset({"known"}))
    answer = ask(functions, path="/runs", api=api, headers=headers)
    assert answer.status_code == status
    assert len(functions.events) == (status == 200)
    if status == 403:
        assert answer.json == {"message": "Forbidden"}


# --- which routes there are ------------------------------------------------------------------


def lambda_uri(name):
    function = f"arn:aws:lambda:us-east-1:123456789012:function:{name}"
    return f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{function}/invocations"


def test_a_swagger_document_as_chalice_writes_it_is_an_api():
    integration = {"type": "aws_proxy", "uri": lambda_uri("api")}
    document = {
        "paths": {
            "/runs": {
                "post": {"security": [{"guard": []}], "x-amazon-apigateway-integration": integration},
                "options": {"x-amazon-apigateway-integration": {"type": "mock"}},
            },
            "/open": {"get": {"security": [{"api_key": []}], "x-amazon-apigateway-integration": integration}},
        },
        "securityDefinitions": {
            "guard": {"x-amazon-apigateway-authorizer": {"authorizerUri": lambda_uri("guard")}},
            "api_key": {"type": "apiKey"},
        },
        "x-amazon-apigateway-binary-media-types": ["image/png"],
    }
    function = "arn:aws:lambda:us-east-1:123456789012:function:"
    assert of_document(document, "a1", "v1") == Api(
        (
            Route("/runs", "POST", f"{function}api", f"{function}guard"),
            Route("/open", "GET", f"{function}api", asks_for_key=True),
        ),
        ("image/png",),
        "a1",
        "v1",
    )


def test_the_working_trees_routes_are_asked_for_again_when_they_are_old_and_kept_while_it_is_broken(ask):
    described = {"routes": [{"path": "/", "method": "GET", "authorizer": None}], "binary_types": []}
    now, asked = [0.0], []

    def invoke(function, payload):
        asked.append(function)
        return described_now[0]

    described_now = [answering(described)]
    gateway = ApiGateway(Functions())
    own = OwnApi(gateway, invoke, lambda: now[0])
    environ = EnvironBuilder("/").get_environ()
    statuses = []

    def answer():
        own(dict(environ), lambda status, headers: statuses.append(int(status.split()[0])))

    answer()
    answer()
    assert (len(asked), statuses) == (1, [200, 200])
    now[0] += 2 * OwnApi.FRESH
    described_now[0] = Result(b'{"errorMessage": "SyntaxError"}', "Unhandled", "id")
    answer()
    assert (len(asked), statuses[-1]) == (2, 200)
    described_now[0] = answering({"routes": [], "binary_types": []})
    answer()
    assert statuses[-1] == 403
    gateway.close()


def test_the_path_is_taken_as_it_was_sent():
    assert raw_path({"RAW_URI": "/tables/a%2Fb?x=%20", "PATH_INFO": "/tables/a/b"}) == "/tables/a%2Fb"
    assert raw_path({"PATH_INFO": "/tables/a"}) == "/tables/a"
