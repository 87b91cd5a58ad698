"""The one ASL file, with its substitutions filled in.

CloudFormation fills the same `${…}` by `DefinitionSubstitutions`; here it is done for the local
stack and for `sluice deploy`.
"""

from __future__ import annotations

import json
import pkgutil
import re
from pathlib import Path

from chalicelib import events
from chalicelib.errors import ConfigurationError

PATH = Path(__file__).with_name("pipeline.asl.json")

# what Chalice makes for the API: the function behind all routes, by its own name, and the authorizer of `app.py`
API_HANDLER = "api_handler"
API_FUNCTIONS = (API_HANDLER, "authorize")

_PLACEHOLDER = re.compile(r"\$\{(\w+)\}")


def definition() -> dict:
    """The state machine as it is in the repository, placeholders and all."""
    return json.loads(PATH.read_text())


def task_states(machine: dict | None = None) -> dict[str, dict]:
    """Every Task state by name, those inside Maps included."""
    machine = definition() if machine is None else machine
    found = {}
    for name, state in machine["States"].items():
        if state["Type"] == "Task":
            found[name] = state
        if "ItemProcessor" in state:
            found.update(task_states(state["ItemProcessor"]))
    return found


def state_functions() -> tuple[str, ...]:
    """The Lambda functions that the machine invokes, by their Chalice names, in the machine's order."""
    invoked = [state for state in task_states().values() if state["Resource"].endswith(":lambda:invoke")]
    return tuple(dict.fromkeys(invoked_by(state) for state in invoked))


def invoked_by(state: dict) -> str:
    """The function that a Task state of our definition invokes; two states may invoke one."""
    return snake_case(_PLACEHOLDER.fullmatch(state["Parameters"]["FunctionName"])[1].removesuffix("Arn"))


def event_functions() -> tuple[str, ...]:
    """The Lambda functions that events invoke: a module of `chalicelib/events` each, in alphabetical order."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(events.__path__)))


def lambda_functions() -> tuple[str, ...]:
    """Every Lambda function, by its Chalice name: those of the states, of events, of the API."""
    return state_functions() + event_functions() + API_FUNCTIONS


def full_name(prefix: str, function: str) -> str:
    """A function's name on AWS, as Chalice makes it; `prefix` is `<app>-<stage>`."""
    return prefix if function == API_HANDLER else f"{prefix}-{function}"


def handler(function: str) -> str:
    """Where Lambda finds the function in the package."""
    return "app.app" if function == API_HANDLER else f"app.{function}"


def placeholder(function: str) -> str:
    """The substitution that stands for a function's ARN: `fetch_partition` -> `FetchPartitionArn`."""
    return "".join(word.capitalize() for word in function.split("_")) + "Arn"


def snake_case(state: str) -> str:
    """A state's module, handler and policy: `FetchPartition` -> `fetch_partition`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", state).lower()


def render(substitutions: dict[str, str]) -> str:
    """The definition as JSON text; raises ConfigurationError naming placeholders without a value, or the reverse."""
    text = PATH.read_text()
    wanted = set(_PLACEHOLDER.findall(text))
    if missing := sorted(wanted - set(substitutions)):
        raise ConfigurationError(f"no value for {', '.join(missing)} in {PATH.name}")
    if unused := sorted(set(substitutions) - wanted):
        raise ConfigurationError(f"{PATH.name} has no placeholder {', '.join(unused)}")
    return _PLACEHOLDER.sub(lambda found: json.dumps(substitutions[found[1]])[1:-1], text)
