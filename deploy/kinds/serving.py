"""API Gateway: the API's own domain name, and the usage plan that counts requests by API key.

Both are about a REST API that Chalice makes, and go before it: API Gateway deletes no API with a mapping or a plan.
"""

from __future__ import annotations

from typing import ClassVar

from deploy.kinds.base import TAG, Aws, Kind, missing_is_none, tag_list, tags_of, without_empty

_ROOT = "(none)"  # API Gateway's name for an empty base path


class DomainName(Kind):
    """A regional one. Its physical id is the name."""

    type = "AWS::ApiGateway::DomainName"
    phase = 62
    required = ("DomainName", "RegionalCertificateArn", "EndpointConfiguration", "SecurityPolicy")
    replaced_by = ("DomainName",)
    defaults: ClassVar = {"Tags": None}
    unread = ("Tags",)  # the stage's own, from when it is made

    def predicted(self, aws, properties):
        return properties["DomainName"]

    def attribute(self, aws, physical_id, properties, name):
        if name in ("RegionalDomainName", "RegionalHostedZoneId"):
            about = _domain(aws, physical_id) if physical_id else None
            return about and about[name[0].lower() + name[1:]]
        return super().attribute(aws, physical_id, properties, name)

    def find(self, aws, properties):
        return properties["DomainName"]

    def read(self, aws, physical_id):
        found = _domain(aws, physical_id)
        if found is None:
            return None
        return without_empty(
            {
                "DomainName": physical_id,
                "RegionalCertificateArn": found.get("regionalCertificateArn"),
                "EndpointConfiguration": {"Types": found["endpointConfiguration"]["types"]},
                "SecurityPolicy": found.get("securityPolicy"),
                "Tags": tag_list(found.get("tags")),
            }
        )

    def create(self, aws, properties):
        name = properties["DomainName"]
        aws.client("apigateway").create_domain_name(
            domainName=name,
            regionalCertificateArn=properties["RegionalCertificateArn"],
            endpointConfiguration={"types": properties["EndpointConfiguration"]["Types"]},
            securityPolicy=properties["SecurityPolicy"],
            tags=tags_of(properties.get("Tags")),
        )
        return name

    def update(self, aws, physical_id, present, wanted):
        changed = {
            "/regionalCertificateArn": wanted["RegionalCertificateArn"],
            "/securityPolicy": wanted["SecurityPolicy"],
            # where it was edge-optimized
            "/endpointConfiguration/types/0": wanted["EndpointConfiguration"]["Types"][0],
        }
        aws.client("apigateway").update_domain_name(
            domainName=physical_id,
            patchOperations=[{"op": "replace", "path": path, "value": value} for path, value in changed.items()],
        )

    @missing_is_none
    def delete(self, aws, physical_id):
        aws.client("apigateway").delete_domain_name(domainName=physical_id)


class BasePathMapping(Kind):
    """The whole of a domain leads to one stage of one API. Its physical id is the domain's name."""

    type = "AWS::ApiGateway::BasePathMapping"
    phase = 63
    required = ("DomainName", "RestApiId", "Stage")
    replaced_by = ("DomainName",)

    def predicted(self, aws, properties):
        return properties["DomainName"]

    def find(self, aws, properties):
        return properties["DomainName"]

    def read(self, aws, physical_id):
        found = _mapping(aws, physical_id)
        return found and {"DomainName": physical_id, "RestApiId": found["restApiId"], "Stage": found["stage"]}

    def create(self, aws, properties):
        name = properties["DomainName"]
        aws.client("apigateway").create_base_path_mapping(
            domainName=name, restApiId=properties["RestApiId"], stage=properties["Stage"]
        )
        return name

    def update(self, aws, physical_id, present, wanted):
        changed = {"/restapiId": wanted["RestApiId"], "/stage": wanted["Stage"]}
        aws.client("apigateway").update_base_path_mapping(
            domainName=physical_id,
            basePath=_ROOT,
            patchOperations=[{"op": "replace", "path": path, "value": value} for path, value in changed.items()],
        )

    @missing_is_none
    def delete(self, aws, physical_id):
        aws.client("apigateway").delete_base_path_mapping(domainName=physical_id, basePath=_ROOT)

    def owner(self, aws, physical_id, present):
        """It can bear no tags: whose the domain is."""
        return tags_of((_domain(aws, physical_id) or {}).get("tags")).get(TAG)


class UsagePlan(Kind):
    """Found by its name; its physical id is made up by AWS. Keys come to it by hand, and stay with it."""

    type = "AWS::ApiGateway::UsagePlan"
    phase = 63
    required = ("UsagePlanName", "ApiStages", "Quota", "Throttle")
    replaced_by = ("UsagePlanName",)
    defaults: ClassVar = {"Description": None, "Tags": None}
    unread = ("Tags",)

    def find(self, aws, properties):
        pages = aws.client("apigateway").get_paginator("get_usage_plans").paginate()
        plans = (plan for page in pages for plan in page["items"])
        return next((plan["id"] for plan in plans if plan["name"] == properties["UsagePlanName"]), None)

    def read(self, aws, physical_id):
        found = _plan(aws, physical_id)
        if found is None:
            return None
        quota, throttle = found.get("quota", {}), found.get("throttle", {})
        return without_empty(
            {
                "UsagePlanName": found["name"],
                "Description": found.get("description"),
                "ApiStages": [{"ApiId": each["apiId"], "Stage": each["stage"]} for each in found.get("apiStages", [])],
                "Quota": {"Limit": quota.get("limit"), "Period": quota.get("period")},
                "Throttle": {"RateLimit": throttle.get("rateLimit"), "BurstLimit": throttle.get("burstLimit")},
                "Tags": tag_list(found.get("tags")),
            }
        )

    def create(self, aws, properties):
        quota, throttle = properties["Quota"], properties["Throttle"]
        return aws.client("apigateway").create_usage_plan(
            name=properties["UsagePlanName"],
            description=properties.get("Description", ""),
            apiStages=[{"apiId": each["ApiId"], "stage": each["Stage"]} for each in properties["ApiStages"]],
            quota={"limit": int(quota["Limit"]), "period": quota["Period"]},
            throttle={"rateLimit": float(throttle["RateLimit"]), "burstLimit": int(throttle["BurstLimit"])},
            tags=tags_of(properties.get("Tags")),
        )["id"]

    def update(self, aws, physical_id, present, wanted):
        have, want = _stages(present), _stages(wanted)
        replaced = {
            "/description": wanted.get("Description", ""),
            "/quota/limit": wanted["Quota"]["Limit"],
            "/quota/period": wanted["Quota"]["Period"],
            "/throttle/rateLimit": wanted["Throttle"]["RateLimit"],
            "/throttle/burstLimit": wanted["Throttle"]["BurstLimit"],
        }
        operations = [
            *({"op": "remove", "path": "/apiStages", "value": stage} for stage in sorted(have - want)),
            *({"op": "add", "path": "/apiStages", "value": stage} for stage in sorted(want - have)),
            *({"op": "replace", "path": path, "value": str(value)} for path, value in replaced.items()),
        ]
        aws.client("apigateway").update_usage_plan(usagePlanId=physical_id, patchOperations=operations)

    @missing_is_none
    def delete(self, aws, physical_id):
        """API Gateway deletes no plan of a stage."""
        if present := self.read(aws, physical_id):
            gone = [{"op": "remove", "path": "/apiStages", "value": stage} for stage in sorted(_stages(present))]
            client = aws.client("apigateway")
            if gone:
                client.update_usage_plan(usagePlanId=physical_id, patchOperations=gone)
            client.delete_usage_plan(usagePlanId=physical_id)


def _stages(properties: dict) -> set[str]:
    return {f"{each['ApiId']}:{each['Stage']}" for each in properties.get("ApiStages", ())}


@missing_is_none
def _domain(aws: Aws, name: str) -> dict | None:
    return aws.client("apigateway").get_domain_name(domainName=name)


@missing_is_none
def _mapping(aws: Aws, name: str) -> dict | None:
    return aws.client("apigateway").get_base_path_mapping(domainName=name, basePath=_ROOT)


@missing_is_none
def _plan(aws: Aws, plan_id: str) -> dict | None:
    return aws.client("apigateway").get_usage_plan(usagePlanId=plan_id)


KINDS = (DomainName, BasePathMapping, UsagePlan)
