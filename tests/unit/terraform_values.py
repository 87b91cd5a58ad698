"""What a Terraform module makes, evaluated without Terraform: every resource with its arguments.

What is known only after a resource was made, such as its ARN, stays a `Reference`.
"""

from __future__ import annotations

import json
from typing import Any

from terraform_expressions import LITERALS, ExpressionError, Parser, Reference, in_order
from terraform_module import Module


class Unknown(Exception):
    """A value that is asked for before it can be known; `try` does not help."""


class Values:
    """A module with its variables and `known`: what data sources answer, as {"data.aws_region.current": {…}}.

    When `planning`, nothing is made yet: what refers to a resource has no value.
    """

    def __init__(self, module: Module, variables: dict[str, Any], known: dict[str, dict], planning: bool = False):
        self.module, self.known, self.planning = module, known, planning
        self.variables = {
            name: variables[name] if name in variables else self.evaluate(body.get("default"), {})
            for name, body in module.of("variable").items()
        }
        self._locals: dict[str, Any] = {}
        for name, body in module.of("variable").items():
            for validation in body.get("validation", []):
                if not self.evaluate(validation["condition"], self.scope()):
                    raise ExpressionError(f"{name}: {self.evaluate(validation['error_message'], self.scope())}")

    def scope(self, **more: Any) -> dict:
        return {
            "__module": self,
            "var": self.variables,
            "local": self.local,
            "data": lambda kind: lambda name: self.data(f"data.{kind}.{name}"),
            "ephemeral": lambda kind: lambda name: Reference(f"ephemeral.{kind}.{name}"),
            "path": {"module": str(self.module.folder)},
            **more,
        }

    def local(self, name: str) -> Any:
        if name not in self._locals:
            try:
                body = self.module.blocks[f"local.{name}"]
            except KeyError:
                raise ExpressionError(f"there is no local.{name}") from None
            self._locals[name] = self.evaluate(body, self.scope())
        return self._locals[name]

    def override(self, name: str, value: Any) -> None:
        """Take another value for a local one."""
        self._locals[name] = value

    def data(self, address: str) -> dict | list[dict]:
        if address in self.known:
            return self.known[address]
        body = self.module.blocks.get(address)
        if body is None or not address.startswith("data.aws_iam_policy_document."):
            raise ExpressionError(f"what does {address} answer?")
        document = {"json": json.dumps(policy_document(self.evaluate(body, self.scope())), default=str)}
        return [document] * self.evaluate(body["count"], self.scope()) if "count" in body else document

    def reference(self, address: str) -> Reference:
        if f"resource.{address}" not in self.module.blocks:
            raise ExpressionError(f"there is no {address}")
        if self.planning:
            raise Unknown(f"{address} is known only when it is made")
        return Reference(address)

    def keys(self, held: Reference) -> list:
        """The keys of a resource's instances."""
        body = self.module.blocks[("" if held.address.startswith("ephemeral.") else "resource.") + held.address]
        if "for_each" in body:
            return [key for key, _ in _pairs(self.evaluate(body["for_each"], self.scope()))]
        return list(range(self.evaluate(body["count"], self.scope()))) if "count" in body else []

    def instances(self, held: Any) -> list:
        """What `[*]` goes over: the instances of a resource, or a list."""
        return [Reference(held.address, key) for key in self.keys(held)] if isinstance(held, Reference) else list(held)

    def evaluate(self, value: Any, scope: dict) -> Any:
        """A value as python-hcl2 gives it: literals as they are, expressions in `${}`, texts in quotes."""
        if isinstance(value, str):
            if value.startswith("${") and value.endswith("}"):
                return Parser(value[2:-1]).whole()(scope)
            return Parser(value).whole()(scope) if value.startswith('"') else LITERALS.get(value, value)
        if isinstance(value, list):
            return [self.evaluate(item, scope) for item in value]
        if isinstance(value, dict):
            found = {}
            for name, item in value.items():
                if name.startswith("__"):
                    continue
                if name == "dynamic":
                    for block in item:
                        self._dynamic(block, scope, found)
                else:
                    found[name.strip('"')] = self.evaluate(item, scope)
            return found
        return value

    def _dynamic(self, block: dict, scope: dict, found: dict) -> None:
        for label, body in block.items():
            if label.startswith("__"):
                continue
            name = label.strip('"')
            for key, value in _pairs(self.evaluate(body["for_each"], scope)):
                inner = {**scope, name: {"key": key, "value": value}}
                found.setdefault(name, []).append(self.evaluate(body["content"][0], inner))

    def resources(self) -> dict[str, dict]:
        """Every instance: "aws_x.name" or "aws_x.name[key]" -> its arguments."""
        made = {}
        for address, body in self.module.resources.items():
            own = {
                name: value
                for name, value in body.items()
                if name not in ("for_each", "count", "lifecycle", "depends_on", "provider")
            }
            if "for_each" in body:
                for key, value in _pairs(self.evaluate(body["for_each"], self.scope())):
                    made[f"{address}[{key}]"] = self.evaluate(own, self.scope(each={"key": key, "value": value}))
            elif "count" in body:
                for number in range(self.evaluate(body["count"], self.scope())):
                    made[f"{address}[{number}]"] = self.evaluate(own, self.scope(count={"index": number}))
            else:
                made[address] = self.evaluate(own, self.scope())
        return made


def _pairs(found: Any) -> list[tuple]:
    if isinstance(found, dict):
        return sorted(found.items())
    return [(item, item) for item in in_order(found)]


def policy_document(body: dict) -> dict:
    """What the data source `aws_iam_policy_document` makes of its blocks."""
    statements = []
    for given in body["statement"]:
        statement = {"Sid": given["sid"]} if "sid" in given else {}
        statement |= {"Effect": given.get("effect", "Allow"), "Action": given["actions"]}
        if "resources" in given:
            statement["Resource"] = given["resources"]
        for principal in given.get("principals", []):
            if principal["type"] == "*":
                statement["Principal"] = "*"
            else:
                statement.setdefault("Principal", {})[principal["type"]] = principal["identifiers"]
        for condition in given.get("condition", []):
            statement.setdefault("Condition", {}).setdefault(condition["test"], {})[condition["variable"]] = condition[
                "values"
            ]
        statements.append(statement)
    return {"Version": "2012-10-17", "Statement": statements}
