"""What a template says of its parameters, which CloudFormation would hold against it: patterns, ranges, rules.

`sluice deploy` takes the parameters from the stage's settings, so a fault is told by the setting's name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

# the settings of `.chalice/config.json` that `deploy.template` puts into parameters
SETTINGS = {
    "BucketName": "deployment.bucket",
    "DatabaseHost": "deployment.database_host",
    "DatabaseSecretArn": "deployment.database_secret_arn",
    "LogDays": "log_retention_in_days",
    "RawDays": "deployment.raw_days",
    "RunsDays": "deployment.runs_days",
    "Schedules": "deployment.schedules",
    "SecurityGroupIds": "security_group_ids",
    "Simulation": "deployment.simulate_sensors",
    "AccessLog": "deployment.access_log",
    "ApiBurst": "deployment.api_burst",
    "ApiCertificateArn": "deployment.api_certificate_arn",
    "ApiDomain": "deployment.api_domain",
    "ApiQuota": "deployment.api_quota",
    "ApiRate": "deployment.api_rate",
    "SubnetIds": "subnet_ids",
}


def faults(template: dict, value: Callable[[Any], Any]) -> list[str]:
    """Every constraint that does not hold; `value` works out what stands in the template."""
    found = []
    for name, about in template.get("Parameters", {}).items():
        found += [f"{SETTINGS.get(name, name)} is {given!r}: {why}" for given, why in _of_parameter(about)]
    for rule in template.get("Rules", {}).values():
        if "RuleCondition" not in rule or value(rule["RuleCondition"]):
            found += [_worded(a["AssertDescription"]) for a in rule["Assertions"] if not value(a["Assert"])]
    return found


def _of_parameter(about: dict) -> Iterator[tuple[Any, str]]:
    given = about.get("Default")
    if given is None:
        return
    explained = about.get("ConstraintDescription")
    if "AllowedPattern" in about and not re.fullmatch(about["AllowedPattern"], str(given)):
        yield given, f"it must be {explained or about['AllowedPattern']}"
    if "AllowedValues" in about and given not in about["AllowedValues"]:
        yield given, f"it must be one of {', '.join(map(str, about['AllowedValues']))}"
    low, high = about.get("MinValue"), about.get("MaxValue")
    if (low is not None and float(given) < low) or (high is not None and float(given) > high):
        yield given, f"it must be from {low} to {high}"


def _worded(description: str) -> str:
    for name, setting in SETTINGS.items():
        description = re.sub(rf"\b{name}\b", setting, description)
    return description
