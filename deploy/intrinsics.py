"""A CloudFormation template's values, worked out without CloudFormation.

The functions that the template may use: Ref, Fn::GetAtt, Fn::Sub (both forms), Fn::If with
Conditions (Equals, And, Or, Not, Condition), Fn::Join, Fn::Select, Fn::Split, and the pseudo
parameters. Anything else is an error by name: what is not understood must not be deployed.
See https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from chalicelib.errors import ConfigurationError

_VARIABLE = re.compile(r"\$\{(!?)([^}]+)\}")
_CONDITIONS = ("Fn::And", "Fn::Equals", "Fn::Not", "Fn::Or", "Condition")
_FUNCTIONS = ("Ref", "Fn::GetAtt", "Fn::Sub", "Fn::If", "Fn::Join", "Fn::Select", "Fn::Split", *_CONDITIONS[:-1])


class _NoValue:
    """AWS::NoValue: what holds it is left out."""


NO_VALUE = _NoValue()


@dataclass(frozen=True)
class Unknown:
    """A value that AWS makes up when the resource is created, such as a key's id."""

    what: str  # e.g. "Key.Arn"

    def __str__(self) -> str:
        return f"<{self.what}, known once it is made>"


def has_unknown(value: Any) -> bool:
    """Whether an Unknown is anywhere in it."""
    if isinstance(value, dict):
        return any(map(has_unknown, value.values()))
    if isinstance(value, list):
        return any(map(has_unknown, value))
    return isinstance(value, Unknown)


class Evaluator:
    """`attribute(logical_id, name)` gives a resource's attribute, or its Ref where the name is None."""

    def __init__(
        self,
        template: dict,
        parameters: dict[str, Any],
        pseudo: dict[str, str],
        attribute: Callable[[str, str | None], Any],
    ):
        self._conditions: dict[str, bool] = {}
        self._template = template
        self._attribute = attribute
        self._values = {**self._parameters(parameters), **pseudo, "AWS::NoValue": NO_VALUE}

    def _parameters(self, given: dict[str, Any]) -> dict[str, Any]:
        declared = self._template.get("Parameters", {})
        if unknown := sorted(set(given) - set(declared)):
            raise ConfigurationError(f"the template has no parameter {', '.join(unknown)}")
        values = {name: given.get(name, about.get("Default")) for name, about in declared.items()}
        if missing := sorted(name for name, value in values.items() if value is None):
            raise ConfigurationError(f"the template's parameters {', '.join(missing)} have no value")
        lists = {name for name, about in declared.items() if "List" in about["Type"]}
        return {
            name: [part for part in value.split(",") if part] if name in lists and isinstance(value, str) else value
            for name, value in values.items()
        }

    def resources(self) -> dict[str, dict]:
        """The resources whose condition holds, as they stand in the template."""
        return {
            name: resource
            for name, resource in self._template["Resources"].items()
            if "Condition" not in resource or self.condition(resource["Condition"])
        }

    def condition(self, name: str) -> bool:
        if name not in self._conditions:
            conditions = self._template.get("Conditions", {})
            if name not in conditions:
                raise ConfigurationError(f"the template has no condition {name}")
            self._conditions[name] = bool(self.value(conditions[name]))
        return self._conditions[name]

    def value(self, node: Any) -> Any:
        """`node` with its functions worked out; only the branch of a Fn::If that counts is looked at."""
        if isinstance(node, list):
            return [value for value in map(self.value, node) if value is not NO_VALUE]
        if not isinstance(node, dict):
            return node
        if (function := _function(node)) is not None:
            return self._call(function, node[function])
        values = {name: self.value(inner) for name, inner in node.items()}
        return {name: value for name, value in values.items() if value is not NO_VALUE}

    def references(self, node: Any) -> Iterator[str]:
        """The logical ids of the resources that `node` needs, through the branches that count."""
        if isinstance(node, list):
            for inner in node:
                yield from self.references(inner)
        elif isinstance(node, dict):
            function = _function(node)
            if function == "Ref":
                if node[function] not in self._values:
                    yield node[function]
            elif function == "Fn::GetAtt":
                yield _attribute_of(node[function])[0]
            elif function == "Fn::If":
                name, then, otherwise = node[function]
                yield from self.references(then if self.condition(name) else otherwise)
            elif function == "Fn::Sub":
                text, variables = _substitution(node[function])
                yield from self.references(variables)
                for escaped, name in _VARIABLE.findall(text):
                    if not escaped and name not in variables and name not in self._values:
                        yield name.split(".")[0]
            else:
                for inner in node.values():
                    yield from self.references(inner)

    def _call(self, function: str, argument: Any) -> Any:
        if function == "Ref":
            return self._named(argument)
        if function == "Fn::GetAtt":
            return self._attribute(*_attribute_of(argument))
        if function == "Fn::Sub":
            return self._substitute(*_substitution(argument))
        if function == "Fn::If":
            name, then, otherwise = argument
            return self.value(then if self.condition(name) else otherwise)
        if function == "Condition":
            return self.condition(argument)
        if function == "Fn::And":
            return all(map(self.value, argument))
        if function == "Fn::Or":
            return any(map(self.value, argument))
        if function == "Fn::Not":
            return not self.value(argument[0])
        arguments = [self.value(inner) for inner in argument]
        for inner in arguments:
            if isinstance(inner, Unknown):
                return inner
        if function == "Fn::Equals":
            return _text(arguments[0]) == _text(arguments[1])
        if function == "Fn::Select":
            return arguments[1][int(arguments[0])]
        if function == "Fn::Split":
            return arguments[1].split(arguments[0])
        return self._join(*arguments)

    @staticmethod
    def _join(separator: str, parts: list) -> Any:
        for part in parts:
            if isinstance(part, Unknown):
                return part
        return separator.join(map(_text, parts))

    def _named(self, name: str) -> Any:
        return self._values[name] if name in self._values else self._attribute(name, None)

    def _substitute(self, text: str, variables: dict) -> Any:
        unknown = []

        def fill(found: re.Match) -> str:
            escaped, name = found.groups()
            if escaped:
                return "${" + name + "}"
            if name in variables:
                value = self.value(variables[name])
            elif name in self._values or "." not in name:
                value = self._named(name)
            else:
                value = self._attribute(*name.split(".", 1))
            if isinstance(value, Unknown):
                unknown.append(value)
            return _text(value)

        filled = _VARIABLE.sub(fill, text)
        return unknown[0] if unknown else filled


def _function(node: dict) -> str | None:
    """The intrinsic function that `node` calls; None where it is plain data."""
    if len(node) != 1:
        return None
    [name] = node
    if name in _FUNCTIONS or (name == "Condition" and isinstance(node[name], str)):
        return name
    if name.startswith("Fn::"):
        raise ConfigurationError(f"the template calls {name}, which `sluice deploy` does not know")
    return None


def _attribute_of(argument: str | list) -> tuple[str, str]:
    logical_id, name = argument.split(".", 1) if isinstance(argument, str) else argument
    return logical_id, name


def _substitution(argument: str | list) -> tuple[str, dict]:
    return (argument, {}) if isinstance(argument, str) else (argument[0], argument[1])


def _text(value: Any) -> str:
    """As CloudFormation writes a value into a string."""
    return str(value).lower() if isinstance(value, bool) else str(value)
