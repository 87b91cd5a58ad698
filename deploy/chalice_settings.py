"""Chalice's own settings in `.chalice/config.json`, which Chalice takes without a look at their names.

A mistyped key or function would leave a function with Chalice's defaults, 60 s and 128 MB, and a number
beyond Lambda's limits would break a deployment in the middle. The keys are those of
https://aws.github.io/chalice/topics/configfile.html, the limits those of
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator

from chalicelib.errors import ConfigurationError

_OF_A_FUNCTION = {
    "autogen_policy",
    "environment_variables",
    "iam_policy_file",
    "iam_role_arn",
    "lambda_memory_size",
    "lambda_timeout",
    "layers",
    "log_retention_in_days",
    "manage_iam_role",
    "reserved_concurrency",
    "security_group_ids",
    "subnet_ids",
    "tags",
}
_OF_A_STAGE = _OF_A_FUNCTION | {
    "api_gateway_endpoint_type",
    "api_gateway_endpoint_vpce",
    "api_gateway_policy_file",
    "api_gateway_stage",
    "automatic_layer",
    "lambda_architecture",
    "lambda_functions",
    "minimum_compression_size",
    "xray",
}
_OF_THE_FILE = _OF_A_STAGE | {"app_name", "profile", "stages", "version"}

# it begins every name: with a stage of 16, an account and a region the bucket has at most 63 characters
_APP = re.compile(r"[a-z][a-z0-9-]{0,17}")
# what Chalice knows and one of ours does: by both, two would make the domain
_OURS = {
    "api_gateway_custom_domain": "deployment.api_domain and deployment.api_certificate_arn give the API its domain",
    "websocket_api_custom_domain": "there is no websocket API",
}
_LIMITS = {"lambda_timeout": (1, 900, "seconds"), "lambda_memory_size": (128, 10240, "MB")}


def check(path: object, document: dict, stage: str, functions: Collection[str], ours: str) -> None:
    """Raise ConfigurationError with all that is wrong for `stage`; `ours` is a key that Chalice does not know."""
    if problems := list(_problems(document, stage, functions, ours)):
        raise ConfigurationError(f"{path}: " + "; ".join(problems), next_step="correct it there")


def _problems(document: dict, stage: str, functions: Collection[str], ours: str) -> Iterator[str]:
    app = document.get("app_name")
    if not _APP.fullmatch(str(app)):
        yield f"app_name is {app!r}, expected at most 18 small letters, digits and -, a letter first"
    for where, holder, known in (
        ("", document, _OF_THE_FILE),
        (f"stages.{stage}.", document["stages"][stage], _OF_A_STAGE),
    ):
        yield from _unknown(where, holder, known | {ours}, "setting")
        yield from _numbers(where, holder)
        of_functions = holder.get("lambda_functions", {})
        yield from _unknown(f"{where}lambda_functions.", of_functions, functions, "function")
        for name, own in of_functions.items():
            yield from _unknown(f"{where}lambda_functions.{name}.", own, _OF_A_FUNCTION, "setting")
            yield from _numbers(f"{where}lambda_functions.{name}.", own)


def _unknown(where: str, holder: dict, known: Collection[str], what: str) -> Iterator[str]:
    for name in holder:
        if name in _OURS:
            yield f"{where}{name} is not taken: {_OURS[name]}"
        elif name not in known:
            near = difflib.get_close_matches(name, sorted(known), 1)
            yield f"{where}{name} is no {what}" + (f", {near[0]} is" if near else "")


def _numbers(where: str, holder: dict) -> Iterator[str]:
    for name, (least, most, unit) in _LIMITS.items():
        value = holder.get(name, least)
        if type(value) is not int or not least <= value <= most:
            yield f"{where}{name} is {value!r}, Lambda takes {least} to {most} {unit}"
