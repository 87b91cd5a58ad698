"""The repository keeps its own rules: one state is one module, settings are read in one place, modules stay small."""

import ast
import functools
import json
from pathlib import Path

import pytest
from chalice.config import Config

from chalicelib import contracts, errors, settings
from chalicelib.warehouse import queries
from local.functions import Function
from local.provision import CONTAINERS
from statemachine import check, render

ROOT = Path(__file__).parents[2]
PACKAGES = ("chalicelib", "cli", "dashboard", "deploy", "local", "statemachine", "storm")
MODULES = [ROOT / "app.py", *(path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))]
LONGEST = 320  # lines that are not blank

# what Lambda, its client and its runtime report for what may pass by itself; AWS documents the first four
# (https://docs.aws.amazon.com/step-functions/latest/dg/bp-lambda-serviceexception.html)
LAMBDA_ERRORS = {
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.TooManyRequestsException",
    "Runtime.ExitError",
    "Sandbox.Timedout",
    "States.Timeout",
}
# the only ones beside the local stack that may touch the environment: what Great Expectations reads at its import has
# to be set there; the command line takes on the stack's, which boto3 and the settings then read; Chalice's command gets
# what this process has
ENVIRONMENT = {"chalicelib/settings.py", "chalicelib/quality/engine.py", "cli/session.py", "deploy/chalice_command.py"}
ENVIRONMENT |= {"storm/__main__.py"}  # a storm is played by another process, with settings of its own


@functools.cache
def tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def name(path):
    return path.relative_to(ROOT).as_posix()


def imports(path):
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def leaves(kind):
    below = kind.__subclasses__()
    return {leaf for subclass in below for leaf in leaves(subclass)} if below else {kind}


# --- one state, one module -------------------------------------------------------------------


def test_states_handlers_stages_and_limits_have_the_same_names():
    states, events = set(render.state_functions()), set(render.event_functions())
    functions = [node for node in tree(ROOT / "app.py").body if isinstance(node, ast.FunctionDef)]
    handlers = {node.name for node in functions}
    registered = {
        keyword.value.value
        for node in functions
        for decorator in node.decorator_list
        for keyword in decorator.keywords
        if keyword.arg == "name"
    }
    stages = {path.stem for path in (ROOT / "chalicelib" / "stages").glob("*.py")} - {"__init__"}
    config = json.loads((ROOT / ".chalice" / "config.json").read_text())
    # the routes' function is the application itself
    api, of_app = set(render.API_FUNCTIONS), set(render.API_FUNCTIONS) - {render.API_HANDLER}
    assert set(config["lambda_functions"]) == states | events | api
    for stage, own in config["stages"].items():
        assert set(own.get("lambda_functions", ())) <= states | events | api, stage
    assert stages == states and not states & events
    assert handlers == registered == states | events | of_app


@pytest.mark.parametrize("package", ["events", "stages"])
def test_a_function_is_one_public_function_of_its_modules_name(package):
    for path in (ROOT / "chalicelib" / package).glob("[a-z]*.py"):
        public = [
            node.name
            for node in tree(path).body
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
        ]
        assert public == [path.stem]


def test_a_state_gives_its_lambda_the_time_that_its_configuration_does():
    config = json.loads((ROOT / ".chalice" / "config.json").read_text())
    for state, task in lambda_tasks():
        for stage in config["stages"]:
            allowed = Config(stage, render.invoked_by(task), config_from_disk=config).lambda_timeout
            assert task["TimeoutSeconds"] > allowed, f"{state} gives up before its Lambda does"


def lambda_tasks():
    return [(state, task) for state, task in render.task_states().items() if task["Resource"].endswith("lambda:invoke")]


# --- the state machine -----------------------------------------------------------------------


@pytest.mark.parametrize(("state", "task"), lambda_tasks(), ids=[state for state, _ in lambda_tasks()])
def test_a_lambda_is_retried_on_our_transient_errors_and_lambdas_own_and_on_no_other(state, task):
    named = [error for retrier in task["Retry"] for error in retrier["ErrorEquals"]]
    assert len(named) == len(set(named))
    assert set(named) == {leaf.__name__ for leaf in leaves(errors.TransientError)} | LAMBDA_ERRORS


def test_the_machine_has_no_problems_with_and_without_its_arns():
    substitutions = {
        **{render.placeholder(function): Function(function).arn for function in render.state_functions()},
        "Bucket": "a-bucket",
        "AlertsTopicArn": "arn:aws:sns:eu-west-1:123456789012:alerts",
        "DeadLetterUrl": "https://sqs.eu-west-1.amazonaws.com/123456789012/dead-letters",
        **CONTAINERS,
    }
    rendered = json.loads(render.render(substitutions))
    assert check.problems(render.definition()) == check.problems(rendered) == []
    # of the rendered one our rules would only say what they should: that it holds ARNs
    assert check.policy_problems(render.definition()) == []
    assert all("has the literal ARN" in problem for problem in check.policy_problems(rendered))


def test_errors_are_transient_or_terminal_and_say_what_happened():
    for leaf in leaves(errors.SluiceError):
        assert issubclass(leaf, errors.TransientError | errors.TerminalError), leaf
        assert leaf.__doc__.endswith("."), leaf


# --- the code --------------------------------------------------------------------------------


def test_settings_alone_read_the_environment():
    found = set()
    for path in MODULES:
        for node in ast.walk(tree(path)):
            is_environment = isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")
            if is_environment and isinstance(node.value, ast.Name) and node.value.id == "os":
                found.add(name(path))
    assert {path for path in found if not path.startswith("local/")} <= ENVIRONMENT


def test_nothing_below_the_handlers_knows_chalice_the_command_line_or_the_local_stack():
    for path in MODULES:
        if name(path).startswith("chalicelib/"):
            # a route is registered with Chalice; what it does is not
            known = {"chalice"} if name(path) == "chalicelib/api/routes.py" else set()
            outside = {module.split(".")[0] for module in imports(path)} & {"app", "chalice", "cli", "local", "moto"}
            outside -= known
            assert not outside, f"{name(path)} imports {outside}"


def test_the_warehouse_and_the_lake_know_nothing_of_what_stands_above_them():
    above = ("api", "events", "stages", "triggers", "webhooks")
    for path in MODULES:
        if name(path).startswith(("chalicelib/warehouse/", "chalicelib/lake/")):
            found = {module for module in imports(path) if module.startswith(tuple(f"chalicelib.{a}" for a in above))}
            assert not found, f"{name(path)} imports {found}"


def test_the_dashboard_reads_through_the_api_alone_and_nothing_deployed_knows_it():
    allowed = {"chalicelib.errors", "chalicelib.settings", "chalicelib.durations"}
    for path in MODULES:
        found = {module for module in imports(path) if module.split(".")[0] in ("app", "chalicelib", "local", "boto3")}
        if name(path).startswith("dashboard/"):
            outside = {module for module in found if not any(f"{module}.".startswith(f"{a}.") for a in allowed)}
            assert outside - {"chalicelib"} == set(), name(path)
        else:
            assert "dashboard" not in {module.split(".")[0] for module in imports(path)}, name(path)


def test_every_contract_is_used_by_a_stage():
    used = {
        node.attr if isinstance(node, ast.Attribute) else node.id
        for path in (ROOT / "app.py", *(ROOT / "chalicelib").rglob("*.py"))
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute | ast.Name)
    }
    declared = {node.name for node in tree(Path(contracts.__file__)).body if isinstance(node, ast.ClassDef)}
    assert declared - used == set()


def test_a_stage_uses_all_that_its_request_gives_it():
    for declared in tree(Path(contracts.__file__)).body:
        if not isinstance(declared, ast.ClassDef) or not declared.name.endswith("Request"):
            continue
        stage = render.snake_case(declared.name.removesuffix("Request"))
        used = {
            node.attr
            for node in ast.walk(tree(ROOT / "chalicelib" / "stages" / f"{stage}.py"))
            if isinstance(node, ast.Attribute)
        }
        given = {node.target.id for node in declared.body if isinstance(node, ast.AnnAssign)}
        # logs and metrics say of every state which run and source it is about
        assert given - used - {"run_id", "source"} == set(), declared.name


def test_every_statement_and_every_variable_of_the_tools_is_used():
    words = {
        node.value
        for path in MODULES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and name(path) != "chalicelib/settings.py"
    }
    statements = {named for path in queries.FOLDER.glob("*.sql") for named in queries.names(path.stem)}
    assert statements - words == set()
    assert settings.TOOLING - words == set()


def test_contracts_are_read_with_what_reads_them():
    defined = {node.name for node in tree(ROOT / "chalicelib" / "contract_reading.py").body if hasattr(node, "name")}
    for path in MODULES:
        handed_on = {f"chalicelib.contracts.{function}" for function in defined} & set(imports(path))
        assert not handed_on, f"{name(path)} imports {handed_on} from where it is not defined"
    assert not hasattr(contracts, "__all__")


def test_severities_are_spelled_out_once_and_so_is_the_way_from_a_run_to_its_execution():
    found = {}
    for path in MODULES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.setdefault(node.value, set()).add(name(path))
    assert found["critical"] == {"chalicelib/quality/suite.py"}
    assert found[":execution:"] == {"chalicelib/executions/reader.py"}


def test_requests_and_results_come_in_pairs_named_after_their_stage():
    declared = {node.name for node in tree(Path(contracts.__file__)).body if isinstance(node, ast.ClassDef)}
    stages = {render.placeholder(function).removesuffix("Arn") for function in render.state_functions()}
    for kind in ("Request", "Result"):
        assert {contract.removesuffix(kind) for contract in declared if contract.endswith(kind)} == stages


def test_modules_are_small_have_a_name_of_their_own_and_say_what_they_are_for():
    found = []
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        lines = sum(bool(line.strip()) for line in text.splitlines())
        if lines > LONGEST:
            found.append(f"{name(path)} has {lines} lines; divide it by subject")
        if path.stem in ("utils", "util", "helpers", "helper", "common", "misc"):
            found.append(f"{name(path)} needs a name that says what it is about")
        if text and not ast.get_docstring(ast.parse(text)) and path.name != "__main__.py":
            found.append(f"{name(path)} has no docstring")
    assert not found


def test_the_tests_that_come_first_are_there(request):
    order = request.config.pluginmanager.get_plugin(str(ROOT / "tests" / "conftest.py")).LONGEST
    assert [stem for stem in order if not list((ROOT / "tests").glob(f"*/{stem}.py"))] == []
