"""What CloudFormation and Chalice would find only while deploying, or never: names in a template that lead nowhere.

Chalice merges templates by logical id, so a mistyped one makes a new resource, without a type.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

FUNCTION = "AWS::Serverless::Function"

_PSEUDO = {
    "AWS::AccountId",
    "AWS::NoValue",
    "AWS::NotificationARNs",
    "AWS::Partition",
    "AWS::Region",
    "AWS::StackId",
    "AWS::StackName",
    "AWS::URLSuffix",
}
_VARIABLE = re.compile(r"\$\{([^!}][^}]*)\}")
_ALIAS = ".Alias"  # SAM: the alias of a function that has AutoPublishAlias
_API, _STAGE = "AWS::Serverless::Api", ".Stage"  # SAM: the stage that it makes of an API


def problems(template: dict) -> list[str]:
    """What is wrong, a line each: resources without a type, references to what does not exist."""
    resources, parameters = template.get("Resources", {}), template.get("Parameters", {})
    found = [
        f"Resources.{name} has no Type: is its name mistyped?" for name, r in resources.items() if not r.get("Type")
    ]
    names = set(resources) | set(parameters) | _PSEUDO
    names |= {name + _ALIAS for name, r in resources.items() if r.get("Properties", {}).get("AutoPublishAlias")}
    names |= {name + _STAGE for name, r in resources.items() if r.get("Type") == _API}
    conditions = set(template.get("Conditions", {}))
    for where, kind, name in _references(template, ""):
        known = {"Condition": conditions, "Fn::GetAtt": set(resources), "DependsOn": set(resources)}.get(kind, names)
        if name not in known:
            found.append(f"{where}: {kind} of {name}, which does not exist")
    return found


def _references(value, where: str) -> Iterator[tuple[str, str, str]]:
    """(where, kind, name) of every reference."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _references(item, f"{where}[{index}]")
    if not isinstance(value, dict):
        return
    for key, item in value.items():
        place = f"{where}.{key}".lstrip(".")
        if key == "Ref":
            yield where, key, item
        elif key == "Fn::GetAtt":
            yield where, key, item.split(".")[0] if isinstance(item, str) else item[0]
        elif key == "Fn::Sub":
            text, variables = (item, {}) if isinstance(item, str) else item
            for name in _VARIABLE.findall(text):
                if name not in variables:
                    yield where, "Fn::Sub", name if name in _PSEUDO else name.split(".")[0]
            yield from _references(variables, place)
        elif key == "Fn::If":
            yield where, "Condition", item[0]
            yield from _references(item[1:], place)
        elif key == "Condition" and isinstance(item, str):
            yield where, "Condition", item
        elif key == "DependsOn":
            yield from ((where, key, name) for name in ([item] if isinstance(item, str) else item))
        else:
            yield from _references(item, place)
