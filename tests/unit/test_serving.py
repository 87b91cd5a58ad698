"""The API's own domain name and its usage plan: made, changed, taken away."""

import pytest
from moto import mock_aws

from deploy.kinds import KINDS, Aws
from deploy.kinds.base import TAG, differences
from local import corrections_of_deploying

REGION, ACCOUNT = "eu-west-1", "123456789012"
DOMAINS, MAPPINGS, PLANS = (
    KINDS[f"AWS::ApiGateway::{what}"] for what in ("DomainName", "BasePathMapping", "UsagePlan")
)
TAGS = [{"Key": TAG, "Value": "sluice-dev"}]
NAME = "sluice.example.org"
DOMAIN = {
    "DomainName": NAME,
    "RegionalCertificateArn": f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/1",
    "EndpointConfiguration": {"Types": ["REGIONAL"]},
    "SecurityPolicy": "TLS_1_2",
    "Tags": TAGS,
}


@pytest.fixture
def aws(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    corrections_of_deploying.apply()
    with mock_aws():
        yield Aws(ACCOUNT, REGION, "aws", "dev", "sluice-dev")


@pytest.fixture
def apis(aws):
    """Two REST APIs with a stage `api` each; their ids."""
    client, made = aws.client("apigateway"), []
    for name in ("one", "two"):
        api = client.create_rest_api(name=name)["id"]
        root = client.get_resources(restApiId=api)["items"][0]["id"]
        client.put_method(restApiId=api, resourceId=root, httpMethod="GET", authorizationType="NONE")
        client.put_integration(restApiId=api, resourceId=root, httpMethod="GET", type="MOCK")
        client.create_deployment(restApiId=api, stageName="api")
        made.append(api)
    return made


def changed(kind, aws, made, wanted):
    """The names of what differs; then it is as it should be."""
    present = kind.read(aws, made)
    found = [each.name for each in differences(kind, present, wanted)]
    kind.update(aws, made, present, wanted)
    assert differences(kind, kind.read(aws, made), wanted) == []
    return found


def test_a_domain_is_made_gets_another_certificate_and_goes(aws):
    assert DOMAINS.read(aws, NAME) is None
    made = DOMAINS.create(aws, DOMAIN)
    assert made == DOMAINS.find(aws, DOMAIN) == NAME
    assert differences(DOMAINS, DOMAINS.read(aws, made), DOMAIN) == []
    assert DOMAINS.owner(aws, made, DOMAINS.read(aws, made)) == "sluice-dev"
    target = DOMAINS.attribute(aws, made, DOMAIN, "RegionalDomainName")
    assert target.endswith(f".execute-api.{REGION}.amazonaws.com")
    assert DOMAINS.attribute(aws, None, DOMAIN, "RegionalDomainName") is None
    renewed = {**DOMAIN, "RegionalCertificateArn": f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/2"}
    assert changed(DOMAINS, aws, made, renewed) == ["RegionalCertificateArn"]
    assert DOMAINS.attribute(aws, made, DOMAIN, "RegionalDomainName") == target
    for _ in range(2):
        DOMAINS.delete(aws, made)
    assert DOMAINS.read(aws, made) is None


def test_an_old_policy_of_tls_that_was_set_by_hand_is_set_back(aws):
    made = DOMAINS.create(aws, {**DOMAIN, "SecurityPolicy": "TLS_1_0", "EndpointConfiguration": {"Types": ["EDGE"]}})
    assert changed(DOMAINS, aws, made, DOMAIN) == ["EndpointConfiguration", "SecurityPolicy"]


def test_a_domain_leads_to_the_api_and_then_to_another_one(aws, apis):
    DOMAINS.create(aws, DOMAIN)
    wanted = {"DomainName": NAME, "RestApiId": apis[0], "Stage": "api"}
    assert MAPPINGS.read(aws, NAME) is None
    made = MAPPINGS.create(aws, wanted)
    assert made == MAPPINGS.find(aws, wanted)
    assert differences(MAPPINGS, MAPPINGS.read(aws, made), wanted) == []
    assert MAPPINGS.owner(aws, made, MAPPINGS.read(aws, made)) == "sluice-dev"
    assert changed(MAPPINGS, aws, made, {**wanted, "RestApiId": apis[1]}) == ["RestApiId"]
    [mapping] = aws.client("apigateway").get_base_path_mappings(domainName=NAME)["items"]
    assert (mapping["basePath"], mapping["restApiId"]) == ("(none)", apis[1])
    for _ in range(2):
        MAPPINGS.delete(aws, made)
    assert MAPPINGS.read(aws, made) is None


def plan(api, limit=1000):
    return {
        "UsagePlanName": "sluice-dev",
        "Description": "What each API key may ask for",
        "ApiStages": [{"ApiId": api, "Stage": "api"}],
        "Quota": {"Limit": limit, "Period": "DAY"},
        "Throttle": {"RateLimit": 50, "BurstLimit": 100},
        "Tags": TAGS,
    }


def test_a_usage_plan_is_found_by_its_name_follows_its_api_and_keeps_its_keys(aws, apis):
    client, wanted = aws.client("apigateway"), plan(apis[0])
    client.create_usage_plan(name="sluice-prod")
    assert PLANS.find(aws, wanted) is None
    made = PLANS.create(aws, wanted)
    assert PLANS.find(aws, wanted) == made
    assert differences(PLANS, PLANS.read(aws, made), wanted) == []
    assert PLANS.owner(aws, made, PLANS.read(aws, made)) == "sluice-dev"
    key = client.create_api_key(name="team", enabled=True)["id"]
    client.create_usage_plan_key(usagePlanId=made, keyId=key, keyType="API_KEY")
    assert changed(PLANS, aws, made, plan(apis[1], 2000)) == ["ApiStages", "Quota"]
    assert [each["id"] for each in client.get_usage_plan_keys(usagePlanId=made)["items"]] == [key]


def test_a_usage_plan_leaves_its_stage_before_it_goes(aws, apis, monkeypatch):
    """API Gateway refuses to delete one that has a stage; moto does not."""
    made, calls = PLANS.create(aws, plan(apis[0])), []
    client = aws.client("apigateway")
    delete = client.delete_usage_plan

    def delete_usage_plan(usagePlanId):
        calls.append(client.get_usage_plan(usagePlanId=usagePlanId).get("apiStages"))
        return delete(usagePlanId=usagePlanId)

    monkeypatch.setattr(client, "delete_usage_plan", delete_usage_plan)
    for _ in range(2):
        PLANS.delete(aws, made)
    assert calls == [[]]
    assert PLANS.read(aws, made) is None


@pytest.mark.parametrize("kind", [DOMAINS, MAPPINGS, PLANS], ids=lambda kind: kind.type.rpartition(":")[2])
def test_what_belongs_to_the_api_goes_before_it(kind):
    """API Gateway deletes no API that a domain leads to; what has the higher phase is deleted first."""
    assert kind.phase > KINDS["Sluice::RestApi"].phase
    assert MAPPINGS.phase > DOMAINS.phase
