"""What a history says, whether moto or AWS wrote it, is what the execution says of its states."""

import datetime as dt
import json
import time

import boto3
import moto_server
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from chalicelib import executions
from chalicelib.errors import ContractError, NotFound, TransientError
from chalicelib.executions import Children, Transition

ROLE = "arn:aws:iam::123456789012:role/any"


def task(function, **changes):
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": f"arn:aws:lambda:us-east-1:123456789012:function:{function}", "Payload.$": "$"},
        "ResultPath": None,
        "TimeoutSeconds": 60,
        **changes,
    }


def catch(target):
    return [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": target}]


RETRY = [{"ErrorEquals": ["SourceUnavailable"], "IntervalSeconds": 1, "MaxAttempts": 2, "BackoffRate": 1.0}]
MACHINE = {
    "StartAt": "Flaky",
    "States": {
        "Flaky": task("fails-first", Retry=RETRY, Next="Each"),
        "Each": {
            "Type": "Map",
            "ItemsPath": "$.items",
            "ItemProcessor": {
                "ProcessorConfig": {"Mode": "INLINE"},
                "StartAt": "One",
                "States": {
                    "One": task("fails-on-1", Catch=catch("Mended"), Next="Fine"),
                    "Fine": {"Type": "Pass", "End": True},
                    "Mended": {"Type": "Pass", "End": True},
                },
            },
            "ResultPath": None,
            "Next": "Many",
        },
        "Many": {
            "Type": "Map",
            "ToleratedFailurePercentage": 100.0,
            "ItemReader": {
                "Resource": "arn:aws:states:::s3:getObject",
                "ReaderConfig": {"InputType": "JSON"},
                "Parameters": {"Bucket": "lake", "Key": "manifest.json"},
            },
            "ItemProcessor": {
                "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
                "StartAt": "Work",
                "States": {
                    "Work": task("fails-on-1", Next="Store"),
                    "Store": {"Type": "Pass", "End": True},
                },
            },
            "ResultPath": None,
            "Next": "Which",
        },
        "Which": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.way", "StringEquals": "fail", "Next": "Bad"}],
            "Default": "Done",
        },
        "Bad": task("fails", Catch=catch("Record"), Next="Done"),
        "Record": task("ok", Next="Failed"),
        "Failed": {"Type": "Fail", "Error": "Told", "Cause": "as it was told to"},
        "Done": {"Type": "Succeed"},
    },
}


@pytest.fixture(scope="module")
def endpoint():
    with moto_server.running() as endpoint:
        s3 = boto3.client("s3", endpoint_url=endpoint)
        s3.create_bucket(Bucket="lake")
        s3.put_object(Bucket="lake", Key="manifest.json", Body=json.dumps([{"i": i} for i in range(3)]))
        yield endpoint


@pytest.fixture(scope="module")
def client(endpoint):
    return boto3.client("stepfunctions", endpoint_url=endpoint)


@pytest.fixture(scope="module")
def start(client):
    def start(name, definition, given):
        machine = client.create_state_machine(name=name, definition=json.dumps(definition), roleArn=ROLE)
        begun = client.start_execution(
            stateMachineArn=machine["stateMachineArn"], name=f"{name}-1", input=json.dumps(given)
        )
        return begun["executionArn"]

    return start


def wait(client, arn, until=lambda execution: not execution.is_running):
    reader = executions.Reader(client, arn)
    deadline = time.monotonic() + 60
    while not until(execution := reader.read()):
        assert time.monotonic() < deadline, execution.states
        time.sleep(0.05)
    return execution


@pytest.fixture(scope="module")
def failed(client, start):
    return wait(client, start("failing", MACHINE, {"items": [{"i": 0}, {"i": 1}], "way": "fail"}))


# --- against moto ----------------------------------------------------------------------------


def test_every_state_says_what_became_of_it(failed):
    assert {name: state.status for name, state in failed.states.items()} == {
        "Flaky": "succeeded",
        "Each": "succeeded",
        "One": "caught",
        "Fine": "succeeded",
        "Mended": "succeeded",
        "Many": "succeeded",
        "Work": "succeeded",
        "Store": "succeeded",
        "Which": "succeeded",
        "Bad": "caught",
        "Record": "succeeded",
        "Failed": "failed",
        "Done": "not_run",
    }
    assert (failed.status, failed.error, failed.cause) == ("FAILED", "Told", "as it was told to")


def test_retries_errors_and_visits_are_counted(failed):
    assert (failed.states["Flaky"].retries, failed.states["Flaky"].entered) == (1, 1)
    assert failed.states["Flaky"].seconds >= 1  # the pause before the retry is part of it
    assert (failed.states["One"].entered, failed.states["One"].error) == (2, "DataError")
    assert "fails was told to" in failed.states["Bad"].cause
    assert failed.states["Failed"].error == "Told"


def test_inputs_and_outputs_are_kept(failed):
    assert json.loads(failed.states["Bad"].input)["way"] == "fail"
    assert json.loads(failed.states["Bad"].output)["error"]["Error"] == "DataError"
    assert json.loads(failed.input)["way"] == "fail"


def test_map_items_are_counted(failed):
    assert failed.states["Each"].children == Children(total=2, succeeded=2)
    assert failed.states["Many"].children == Children(total=3, succeeded=2, failed=1)


def test_only_transitions_of_the_history_are_taken(failed):
    assert failed.transitions == {
        Transition("Flaky", "Each", False),
        Transition("One", "Fine", False),
        Transition("One", "Mended", True),
        Transition("Each", "Many", False),
        Transition("Many", "Which", False),
        Transition("Which", "Bad", False),
        Transition("Bad", "Record", True),
        Transition("Record", "Failed", False),
    }


def test_an_execution_is_the_same_after_saving(failed):
    assert executions.from_json(executions.to_json(failed)) == failed


def test_a_running_then_stopped_execution(client, start):
    arn = start("hanging", {"StartAt": "Wait", "States": {"Wait": task("hangs", End=True)}}, {})
    running = wait(client, arn, until=lambda execution: execution.states["Wait"].status == "running")
    assert running.is_running
    assert running.states["Wait"].last is None
    client.stop_execution(executionArn=arn, error="Enough", cause="of this")
    stopped = wait(client, arn)
    assert (stopped.status, stopped.states["Wait"].status) == ("ABORTED", "aborted")


def test_an_error_in_a_map_is_the_maps_error(client, start):
    machine = {
        "StartAt": "Each",
        "States": {
            "Each": {
                "Type": "Map",
                "ItemsPath": "$.items",
                "MaxConcurrency": 1,
                "ItemProcessor": {
                    "ProcessorConfig": {"Mode": "INLINE"},
                    "StartAt": "One",
                    "States": {"One": task("fails-on-1", Catch=catch("No"), End=True), "No": {"Type": "Fail"}},
                },
                "Catch": catch("Sorry"),
                "End": True,
            },
            "Sorry": {"Type": "Pass", "End": True},
        },
    }
    execution = wait(client, start("maperror", machine, {"items": [{"i": 0}, {"i": 1}]}))
    each = execution.states["Each"]
    assert (each.status, each.error, each.children) == ("caught", "DataError", Children(total=2, succeeded=1, failed=1))
    assert execution.states["No"].status == "failed"
    assert Transition("Each", "Sorry", True) in execution.transitions
    assert execution.status == "SUCCEEDED"


def test_an_unknown_execution_is_not_found(client):
    with pytest.raises(NotFound, match="knows no execution"):
        executions.read(client, "arn:aws:states:us-east-1:123456789012:execution:no:such")


def test_step_functions_out_of_reach_is_transient():
    nowhere = boto3.client(
        "stepfunctions",
        endpoint_url="http://127.0.0.1:9",
        config=Config(connect_timeout=1, retries={"total_max_attempts": 1}),
    )
    with pytest.raises(TransientError, match="could not be reached"):
        executions.read(nowhere, "arn:aws:states:us-east-1:123456789012:execution:no:such")


# --- histories as AWS documents them ---------------------------------------------------------

BEGAN = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)


class Recorded:
    """A Step Functions client that answers from lists: pages of (type, previous id, details)."""

    def __init__(self, definition, *pages, status="SUCCEEDED", map_run=None):
        self.definition, self.status, self.map_run = definition, status, map_run
        self.pages, self.asked = [], []
        number = 0
        for page in pages:
            events = []
            for kind, previous, about in page:
                number += 1
                field = kind[0].lower() + kind[1:]
                if kind.endswith(("StateEntered", "StateExited")):
                    field = "state" + kind.rpartition("State")[2]
                events.append(
                    {
                        "id": number,
                        "previousEventId": previous,
                        "type": kind,
                        "timestamp": BEGAN + dt.timedelta(seconds=number),
                        f"{field}EventDetails": about,
                    }
                )
            self.pages.append(events)

    def describe_execution(self, executionArn):
        known = {"executionArn": executionArn, "name": "run", "status": self.status, "startDate": BEGAN}
        return known if self.status == "RUNNING" else {**known, "stopDate": BEGAN + dt.timedelta(minutes=1)}

    def describe_state_machine_for_execution(self, executionArn):
        return {"definition": json.dumps(self.definition)}

    def get_execution_history(self, nextToken="0", **_):
        self.asked.append(nextToken)
        page = int(nextToken)
        more = {"nextToken": str(page + 1)} if page + 1 < len(self.pages) else {}
        return {"events": self.pages[page], **more}

    def describe_map_run(self, mapRunArn):
        return self.map_run


def chain(*names, **changes):
    """A machine of Pass states one after another; `changes` replaces states."""
    states = {
        name: {"Type": "Pass", **({"Next": following} if following else {"End": True})}
        for name, following in zip(names, [*names[1:], None], strict=True)
    }
    return {"StartAt": names[0], "States": {**states, **changes}}


def entered(kind, name, previous):
    return (f"{kind}StateEntered", previous, {"name": name, "input": "{}"})


def exited(kind, name, previous):
    return (f"{kind}StateExited", previous, {"name": name, "output": "{}"})


def test_lambda_events_of_the_older_integration():
    machine = chain("Old", "After")
    history = [
        ("ExecutionStarted", 0, {}),
        entered("Task", "Old", 0),
        ("LambdaFunctionScheduled", 2, {}),
        ("LambdaFunctionStarted", 3, {}),
        ("LambdaFunctionTimedOut", 4, {"error": "States.Timeout", "cause": "10 s"}),
        ("LambdaFunctionScheduled", 5, {}),
        ("LambdaFunctionStarted", 6, {}),
        ("LambdaFunctionSucceeded", 7, {}),
        exited("Task", "Old", 8),
        entered("Pass", "After", 9),
        exited("Pass", "After", 10),
        ("ExecutionSucceeded", 11, {}),
    ]
    old = executions.read(Recorded(machine, history), "arn").states["Old"]
    assert (old.status, old.retries, old.seconds, old.error) == ("succeeded", 1, 7.0, "States.Timeout")


def test_a_branch_that_fails_aborts_the_other():
    branches = [chain("Left"), chain("Right")]
    machine = chain("Both", "After", Both={"Type": "Parallel", "Branches": branches, "Next": "After"})
    history = [
        ("ExecutionStarted", 0, {}),
        entered("Parallel", "Both", 0),
        ("ParallelStateStarted", 2, {}),
        entered("Task", "Left", 3),
        entered("Wait", "Right", 3),
        ("TaskScheduled", 4, {}),
        ("TaskFailed", 6, {"error": "DataError", "cause": "x"}),
        ("WaitStateAborted", 5, {}),
        ("ParallelStateFailed", 7, {}),
        ("ExecutionFailed", 9, {"error": "DataError", "cause": "x"}),
    ]
    states = executions.read(Recorded(machine, history, status="FAILED"), "arn").states
    assert {n: s.status for n, s in states.items()} == {
        "Both": "failed",
        "Left": "failed",
        "Right": "aborted",
        "After": "not_run",
    }
    assert states["Both"].error == "DataError"


def distributed(**changes):
    processor = {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, **chain("Work", "Store")}
    processor["States"]["Work"]["Catch"] = catch("Record")
    processor["States"]["Record"] = {"Type": "Pass", "End": True}
    return {"Type": "Map", "ItemProcessor": processor, "End": True, **changes}


def map_run(status="SUCCEEDED", **counts):
    zero = dict.fromkeys(("pending", "running", "succeeded", "failed", "timedOut", "aborted"), 0)
    counts = {**zero, **counts}
    return {"status": status, "itemCounts": {**counts, "total": sum(counts.values())}}


MAP_RUN_BEGINS = [
    ("ExecutionStarted", 0, {}),
    entered("Map", "Many", 0),
    ("MapStateStarted", 2, {"length": 0}),
    ("MapRunStarted", 3, {"mapRunArn": "arn:run"}),
]


def test_a_map_run_beyond_its_tolerance_fails_the_map_by_its_own_error():
    machine = chain("Many", Many=distributed(Catch=catch("Sorry")), Sorry={"Type": "Pass", "End": True})
    about = {"error": "States.ExceedToleratedFailureThreshold", "cause": "too many"}
    history = [
        *MAP_RUN_BEGINS,
        ("MapRunFailed", 4, about),
        exited("Map", "Many", 5),
        entered("Pass", "Sorry", 6),
        exited("Pass", "Sorry", 7),
        ("ExecutionSucceeded", 8, {}),
    ]
    counts = map_run("FAILED", succeeded=3, failed=1, timedOut=1, aborted=5)
    execution = executions.read(Recorded(machine, history, map_run=counts), "arn")
    many = execution.states["Many"]
    assert (many.status, many.error) == ("caught", about["error"])
    assert many.children == Children(total=10, succeeded=3, failed=2, aborted=5)
    assert execution.states["Work"].status == "succeeded"


@pytest.mark.parametrize(
    ("counts", "total", "inside"),
    [
        (map_run("RUNNING", pending=5, running=2, succeeded=3), 10, "running"),
        (map_run("RUNNING", running=2, succeeded=3), None, "running"),  # moto: only what has begun is counted
        (map_run("RUNNING"), None, "not_run"),
    ],
)
def test_a_map_run_under_way(counts, total, inside):
    recorded = Recorded(chain("Many", Many=distributed()), MAP_RUN_BEGINS, status="RUNNING", map_run=counts)
    execution = executions.read(recorded, "arn")
    assert execution.states["Many"].children.total == total
    assert execution.states["Work"].status == inside
    assert execution.states["Record"].status == "not_run"


def test_children_that_recorded_their_own_failure_can_be_counted_as_failed():
    machine = chain("Many", Many=distributed())
    history = [*MAP_RUN_BEGINS, ("MapRunSucceeded", 4, {}), exited("Map", "Many", 5), ("ExecutionSucceeded", 6, {})]
    read = executions.read(Recorded(machine, history, map_run=map_run(succeeded=20)), "arn")
    known = executions.with_failed_children(read, "Many", 1)
    assert known.states["Many"].children == Children(total=20, succeeded=19, failed=1)
    assert (known.states["Record"].status, known.states["Record"].entered) == ("succeeded", 1)
    assert [known.states[name].entered for name in ("Work", "Store")] == [20, 19]
    assert executions.with_failed_children(read, "Many", 0) == read


def test_an_error_without_a_failure_event_is_seen_by_where_it_led():
    machine = chain("Select", "After", Sorry={"Type": "Pass", "End": True})
    machine["States"]["Select"]["Catch"] = catch("Sorry")
    history = [
        ("ExecutionStarted", 0, {}),
        entered("Task", "Select", 0),
        ("TaskScheduled", 2, {}),
        ("TaskSucceeded", 3, {}),
        exited("Task", "Select", 4),
        entered("Pass", "Sorry", 5),
        exited("Pass", "Sorry", 6),
        ("ExecutionSucceeded", 7, {}),
    ]
    execution = executions.read(Recorded(machine, history), "arn")
    assert execution.states["Select"].status == "caught"
    assert execution.transitions == {Transition("Select", "Sorry", True)}


def test_an_execution_that_failed_in_a_state_names_its_error():
    history = [
        ("ExecutionStarted", 0, {}),
        entered("Pass", "A", 0),
        ("ExecutionFailed", 2, {"error": "States.Runtime", "cause": "Invalid path"}),
    ]
    state = executions.read(Recorded(chain("A"), history, status="FAILED"), "arn").states["A"]
    assert (state.status, state.error, state.cause) == ("failed", "States.Runtime", "Invalid path")


def test_a_timed_out_execution_leaves_its_open_states_aborted():
    history = [("ExecutionStarted", 0, {}), entered("Wait", "A", 0), ("ExecutionTimedOut", 2, {})]
    execution = executions.read(Recorded(chain("A"), history, status="TIMED_OUT"), "arn")
    assert (execution.status, execution.states["A"].status) == ("TIMED_OUT", "aborted")
    assert execution.seconds == 60


def test_a_redriven_execution_runs_on():
    history = [
        ("ExecutionStarted", 0, {}),
        entered("Task", "A", 0),
        ("TaskScheduled", 2, {}),
        ("TaskFailed", 3, {"error": "DataError"}),
        ("ExecutionFailed", 4, {"error": "DataError"}),
        ("ExecutionRedriven", 5, {"redriveCount": 1}),
        ("TaskScheduled", 6, {}),
        ("TaskSucceeded", 7, {}),
        exited("Task", "A", 8),
        entered("Pass", "B", 9),
        exited("Pass", "B", 10),
        ("ExecutionSucceeded", 11, {}),
    ]
    states = executions.read(Recorded(chain("A", "B"), history), "arn").states
    assert [(s.status, s.retries) for s in states.values()] == [("succeeded", 1), ("succeeded", 0)]


def test_full_pages_of_a_history_are_fetched_once():
    first = [("ExecutionStarted", 0, {}), entered("Pass", "A", 0)]
    second = [exited("Pass", "A", 2), entered("Pass", "B", 3)]
    recorded = Recorded(chain("A", "B"), first, second, status="RUNNING")
    reader = executions.Reader(recorded, "arn")
    assert reader.read().states["B"].status == "running"
    assert reader.read() is not None
    assert recorded.asked == ["0", "1", "1"]


def test_a_history_that_lags_behind_the_status_is_awaited(monkeypatch):
    history = [
        ("ExecutionStarted", 0, {}),
        entered("Pass", "A", 0),
        exited("Pass", "A", 2),
        ("ExecutionSucceeded", 3, {}),
    ]
    recorded = Recorded(chain("A"), history)
    whole = recorded.pages
    recorded.pages = [whole[0][:2]]
    monkeypatch.setattr(time, "sleep", lambda seconds: setattr(recorded, "pages", whole))
    assert executions.read(recorded, "arn").states["A"].status == "succeeded"


def test_another_refusal_of_step_functions_is_told(monkeypatch):
    recorded = Recorded(chain("A"), [])

    def throttled(**_):
        raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow down"}}, "DescribeExecution")

    monkeypatch.setattr(recorded, "describe_execution", throttled)
    with pytest.raises(TransientError, match="slow down"):
        executions.read(recorded, "arn")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 99}', '{"format": 1}', '{"format": 1, "states": 3}'])
def test_what_was_not_saved_by_us_is_refused(text):
    with pytest.raises(ContractError, match="no saved execution"):
        executions.from_json(text)
