"""Whatever is sent to a route, it answers as the OpenAPI document says: no 5xx, no status, form or header beside it."""

import json

import pytest
import schemathesis
from http_api import token
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from chalicelib.api import openapi, table

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 25  # of each route

DOCUMENT = schemathesis.openapi.from_dict(json.loads(json.dumps(openapi.document())))
# by name: schemathesis' own parametrize() gives all of them one, of which xdist runs but the last
OPERATIONS = {operation.ok().label: operation.ok() for operation in DOCUMENT.get_all_operations()}


@pytest.fixture(scope="module")
def target(pipeline):
    """Where to send it, with a token that may do everything, and what a good request would ask for."""
    pipeline.run("weather", start="2024-06-01", end="2024-06-02", input="Oslo")
    return pipeline.env["SLUICE_API_URL"], token(pipeline.env["DATABASE_URL"], table.ADMIN)


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_answer_is_one_that_the_document_knows(name, target):
    address, admin = target
    good_and_bad = [OPERATIONS[name].as_strategy(generation_mode=mode) for mode in GenerationMode]

    @given(case=st.one_of(good_and_bad))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def sent(case):
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {admin}"}
        response = case.call(base_url=address)
        # API Gateway takes 10,240 bytes of request line and headers; what is longer does not come to the API
        assume(response.status_code != 414)
        case.validate_response(response, checks=CHECKS)

    sent()


def test_every_route_is_fuzzed():
    assert set(OPERATIONS) == {f"{route.method} {route.path}" for route in table.ROUTES}
