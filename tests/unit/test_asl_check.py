"""The check of a state machine finds every fault that would show up late: at deployment or in a run."""

import copy
import json
from pathlib import Path

import pytest

from statemachine import check
from statemachine.check import policy_problems, problems, problems_in

PIPELINE = Path(__file__).parents[2] / "statemachine" / "pipeline.asl.json"


def retry(**changes):
    return {
        "ErrorEquals": ["SourceUnavailable"],
        "IntervalSeconds": 1,
        "BackoffRate": 2.0,
        "MaxAttempts": 3,
        "MaxDelaySeconds": 30,
        "JitterStrategy": "FULL",
        **changes,
    }


def task(resource="arn:aws:states:::lambda:invoke", parameters=None, **changes):
    return {
        "Type": "Task",
        "Resource": resource,
        "Parameters": parameters or {"FunctionName": "${SomeArn}", "Payload.$": "$"},
        "TimeoutSeconds": 30,
        "Retry": [retry()],
        "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "Alert"}],
        **changes,
    }


def sound():
    """A machine of every state type that neither check has anything to say about."""
    shard = {k: v for k, v in task(End=True).items() if k != "Catch"}
    shard["Catch"] = [{"ErrorEquals": ["States.ALL"], "Next": "Recorded"}]
    return {
        "Comment": "sound",
        "StartAt": "Plan",
        "States": {
            "Plan": task(Next="Fetch", ResultSelector={"result.$": "$.Payload"}, ResultPath="$.plan"),
            "Fetch": {
                "Type": "Map",
                "ItemsPath": "$.plan.items",
                "ItemSelector": {"id.$": "$$.Map.Item.Value", "name.$": "States.Format('{}/{}', $.a, States.UUID())"},
                "MaxConcurrency": 4,
                "ItemProcessor": {
                    "ProcessorConfig": {"Mode": "INLINE"},
                    "StartAt": "One",
                    "States": {"One": {"Type": "Pass", "Result": 1, "End": True}},
                },
                "ResultPath": None,
                "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "Alert"}],
                "Next": "Process",
            },
            "Process": {
                "Type": "Map",
                "Label": "Process",
                "ToleratedFailurePercentage": 100.0,
                "ItemReader": {
                    "Resource": "arn:aws:states:::s3:getObject",
                    "ReaderConfig": {"InputType": "JSON"},
                    "Parameters": {"Bucket": "${Bucket}", "Key.$": "$.key"},
                },
                "ItemProcessor": {
                    "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
                    "StartAt": "Work",
                    "States": {"Work": shard, "Recorded": {"Type": "Pass", "End": True}},
                },
                "ResultPath": None,
                "Next": "Both",
            },
            "Both": {
                "Type": "Parallel",
                "Branches": [
                    {"StartAt": "Left", "States": {"Left": {"Type": "Wait", "Seconds": 1, "End": True}}},
                    {"StartAt": "Right", "States": {"Right": {"Type": "Succeed"}}},
                ],
                "Next": "Verdict",
            },
            "Verdict": {
                "Type": "Choice",
                "Choices": [
                    {"Variable": "$.verdict", "StringEquals": "pass", "Next": "Done"},
                    {
                        "And": [
                            {"Variable": "$.n", "NumericGreaterThan": 3},
                            {"Not": {"Variable": "$.flag", "IsPresent": True}},
                        ],
                        "Next": "Done",
                    },
                ],
                "Default": "AlertQuality",
            },
            "AlertQuality": task(
                "arn:aws:states:::sns:publish", {"TopicArn": "${TopicArn}", "Message": "x"}, Next="DeadLetterQuality"
            ),
            "DeadLetterQuality": task(
                "arn:aws:states:::sqs:sendMessage", {"QueueUrl": "${Url}", "MessageBody.$": "$"}, Next="Failed"
            ),
            "Alert": task(
                "arn:aws:states:::sns:publish",
                {"TopicArn": "${TopicArn}", "Message.$": "$.error.Cause"},
                Next="DeadLetter",
                Catch=[{"ErrorEquals": ["States.ALL"], "Next": "DeadLetter"}],
            ),
            "DeadLetter": task(
                "arn:aws:states:::sqs:sendMessage",
                {"QueueUrl": "${Url}", "MessageBody.$": "$"},
                Next="Failed",
                Catch=[{"ErrorEquals": ["States.ALL"], "Next": "Failed"}],
            ),
            "Failed": {"Type": "Fail", "ErrorPath": "$.error.Error", "Cause": "see the alert"},
            "Done": {"Type": "Succeed"},
        },
    }


def changed(place, value):
    """The sound machine with the value at `place`, e.g. "States.Plan.Next", replaced; `...` removes it."""
    machine = sound()
    at = machine
    *parents, last = [int(p) if p.isdigit() else p for p in place.split("/")]
    for part in parents:
        at = at[part]
    if value is ...:
        del at[last]
    else:
        at[last] = copy.deepcopy(value)
    return machine


def test_a_sound_machine_has_no_problems():
    assert problems(sound()) == []
    assert policy_problems(sound()) == []


def test_a_large_machine_is_checked_without_changing_it():
    machine = sound()
    before = copy.deepcopy(machine)
    problems(machine)
    policy_problems(machine)
    assert machine == before


# place in the sound machine, value put there, and two texts that one problem must hold: where, and what
FAULTS = [
    ("StartAt", "Plam", "StartAt", "expected one of Plan"),
    ("StartAt", ..., "definition", "has no StartAt"),
    ("States", ..., "States", "at least one state"),
    ("States", {}, "States", "at least one state"),
    ("Sates", {}, "Sates", "did you mean 'States'"),
    ("TimeoutSeconds", "60", "TimeoutSeconds", "expected an integer"),
    ("Version", "2.0", "Version", 'expected "1.0"'),
    ("QueryLanguage", "JSONata", "QueryLanguage", "expected JSONPath"),
    # states
    ("States/Plan/Type", "Tsk", "States.Plan.Type", "did you mean 'Task'"),
    ("States/Plan/Type", ..., "States.Plan", "has no Type"),
    ("States/Plan", "Task", "States.Plan", "expected an object"),
    ("States/" + "x" * 81, {"Type": "Succeed"}, "x" * 81, "use 1 to 80"),
    ("States/Plan/Resource", ..., "States.Plan", "has no Resource"),
    ("States/Plan/Resource", 7, "States.Plan.Resource", "expected an ARN"),
    ("States/Plan/Resource", "lambda:invoke", "States.Plan.Resource", "expected an ARN"),
    ("States/Plan/TimeoutSecond", 30, "States.Plan.TimeoutSecond", "did you mean 'TimeoutSeconds'"),
    ("States/Plan/TimeoutSeconds", "30", "States.Plan.TimeoutSeconds", "expected an integer"),
    ("States/Plan/TimeoutSeconds", 0, "States.Plan.TimeoutSeconds", "expected an integer"),
    ("States/Plan/TimeoutSeconds", True, "States.Plan.TimeoutSeconds", "expected an integer"),
    ("States/Plan/TimeoutSecondsPath", "$.t", "States.Plan", "TimeoutSeconds and TimeoutSecondsPath"),
    ("States/Plan/HeartbeatSeconds", 30, "States.Plan.HeartbeatSeconds", "less than TimeoutSeconds"),
    ("States/Plan/Parameters", "x", "States.Plan.Parameters", "expected an object"),
    ("States/Plan/Parameters", {"Payload.$": "$"}, "States.Plan.Parameters", "has no FunctionName"),
    ("States/Alert/Parameters/Message.$", ..., "States.Alert.Parameters", "has no Message"),
    ("States/Plan/Seconds", 3, "States.Plan.Seconds", "no field here"),
    ("States/Plan/Comment", 3, "States.Plan.Comment", "expected a string"),
    # transitions
    ("States/Plan/Next", "Fech", "States.Plan.Next", "did you mean 'Fetch'"),
    ("States/Plan/Next", ..., "States.Plan", "neither Next nor End"),
    ("States/Plan/Next", "Plan", "States.Plan.Next", "leads back to Plan itself"),
    ("States/Plan/Next", 3, "States.Plan.Next", "expected a string"),
    ("States/Plan/End", True, "States.Plan", "has Next and End"),
    ("States/Plan/End", "true", "States.Plan.End", "expected true"),
    ("States/Plan/Catch/0/Next", "Alrt", "States.Plan.Catch[0].Next", "did you mean 'Alert'"),
    ("States/Verdict/Default", "Nowhere", "States.Verdict.Default", "no state 'Nowhere'"),
    ("States/Verdict/Choices/0/Next", "Dne", "States.Verdict.Choices[0].Next", "did you mean 'Done'"),
    ("States/Lonely", {"Type": "Succeed"}, "States.Lonely", "nothing leads here"),
    ("States/Process/Next", "Work", "States.Process.Next", "no state 'Work' in this machine"),
    ("States/Both/Branches/0/States/Left/End", ..., "Left", "neither Next nor End"),
    ("States/Both/Branches/1/StartAt", "Left", "Branches[1].StartAt", "expected one of Right"),
    ("States/Both/Branches/1/States/Plan", {"Type": "Succeed"}, "Branches[1].States.Plan", "the name is taken"),
    ("States/Both/Branches", [], "States.Both.Branches", "at least one machine"),
    ("States/Both/Branches", [3], "States.Both.Branches[0]", "expected an object with StartAt"),
    ("States/Verdict/Next", "Done", "States.Verdict.Next", "no field here"),
    ("States/Done/Next", "Failed", "States.Done.Next", "no field here"),
    # retry and catch
    ("States/Plan/Retry", retry(), "States.Plan.Retry", "expected a list"),
    ("States/Plan/Retry/0/ErrorEquals", "SourceUnavailable", "States.Plan.Retry[0].ErrorEquals", "expected a list"),
    ("States/Plan/Retry/0/ErrorEquals", [], "States.Plan.Retry[0].ErrorEquals", "at least one error name"),
    ("States/Plan/Retry/0/ErrorEquals", [3], "States.Plan.Retry[0].ErrorEquals", "error name"),
    ("States/Plan/Retry/0/ErrorEquals", ..., "States.Plan.Retry[0]", "has no ErrorEquals"),
    ("States/Plan/Retry/0/ErrorEquals", ["States.Timout"], "Retry[0].ErrorEquals", "did you mean 'States.Timeout'"),
    ("States/Plan/Retry/0/MaxAttempts", -1, "States.Plan.Retry[0].MaxAttempts", "expected an integer"),
    ("States/Plan/Retry/0/MaxAttempts", 2.5, "States.Plan.Retry[0].MaxAttempts", "expected an integer"),
    ("States/Plan/Retry/0/BackoffRate", 0.5, "States.Plan.Retry[0].BackoffRate", "expected a number of at least 1"),
    ("States/Plan/Retry/0/BackoffRate", "2", "States.Plan.Retry[0].BackoffRate", "expected a number"),
    ("States/Plan/Retry/0/IntervalSeconds", 0, "States.Plan.Retry[0].IntervalSeconds", "expected an integer"),
    ("States/Plan/Retry/0/MaxDelaySeconds", 1, "States.Plan.Retry[0].MaxDelaySeconds", "more than IntervalSeconds"),
    ("States/Plan/Retry/0/JitterStrategy", "full", "States.Plan.Retry[0].JitterStrategy", "FULL or NONE"),
    ("States/Plan/Retry/0/MaxAttempt", 3, "States.Plan.Retry[0].MaxAttempt", "did you mean 'MaxAttempts'"),
    ("States/Plan/Retry/0", "x", "States.Plan.Retry[0]", "expected an object with ErrorEquals"),
    ("States/Plan/Retry", [retry(), retry()], "Retry[1].ErrorEquals", "dealt with by entry 0 already"),
    ("States/Plan/Catch/0/Next", ..., "States.Plan.Catch[0]", "has no Next"),
    ("States/Plan/Catch/0/ResultPath", "error", "States.Plan.Catch[0].ResultPath", "starts with `$`"),
    ("States/Plan/Catch/0/ErrorEquals", ["A", "States.ALL"], "States.Plan.Catch[0].ErrorEquals", "must stand alone"),
    (
        "States/Plan/Catch",
        [{"ErrorEquals": [name], "Next": "Alert"} for name in ("States.ALL", "A")],
        "States.Plan.Catch[0].ErrorEquals",
        "must be in the last entry",
    ),
    ("States/Verdict/Catch", [], "States.Verdict.Catch", "no field here"),
    # paths
    ("States/Plan/InputPath", "plan", "States.Plan.InputPath", "starts with `$`"),
    ("States/Plan/InputPath", "$.plan..", "States.Plan.InputPath", "cannot read '..'"),
    ("States/Plan/InputPath", "$.plan[", "States.Plan.InputPath", "cannot read '['"),
    ("States/Plan/InputPath", 3, "States.Plan.InputPath", "not a string"),
    ("States/Plan/ResultPath", "$.items[*]", "States.Plan.ResultPath", "may select several nodes"),
    ("States/Plan/ResultPath", "$$.Execution.Id", "States.Plan.ResultPath", "not within the state's input"),
    ("States/Fetch/ItemsPath", "$..items", "States.Fetch.ItemsPath", "may select several nodes"),
    ("States/Fetch/ItemSelector/id.$", "$$.Map.Itm.Value", "ItemSelector.id.$", "did you mean 'Item'"),
    ("States/Fetch/ItemSelector/id.$", "$$.Exection.Id", "ItemSelector.id.$", "did you mean 'Execution'"),
    ("States/Fetch/ItemSelector/id.$", "id", "ItemSelector.id.$", "neither a path nor an intrinsic function"),
    ("States/Fetch/ItemSelector/id.$", 3, "ItemSelector.id.$", "not a string"),
    ("States/Fetch/ItemSelector/id", 3, "ItemSelector.id.$", "appears twice"),
    ("States/Fetch/ItemSelector/deep", [{"x.$": "$.["}], "ItemSelector.deep[0].x.$", "not a path"),
    ("States/Fetch/ItemSelector/f.$", "States.Fomat('{}', $.a)", "f.$", "did you mean 'States.Format'"),
    ("States/Fetch/ItemSelector/f.$", "States.Format('{}', $.a", "f.$", "expected"),
    ("States/Fetch/ItemSelector/f.$", "States.Format('{}, $.a)", "f.$", "not closed"),
    ("States/Fetch/ItemSelector/f.$", "States.Format('a\\nb')", "f.$", "no escape"),
    ("States/Fetch/ItemSelector/f.$", "States.UUID(1)", "f.$", "takes 0 arguments"),
    ("States/Fetch/ItemSelector/f.$", "States.ArrayLength()", "f.$", "takes 1 arguments"),
    ("States/Fetch/ItemSelector/f.$", "States.UUID() + 1", "f.$", "followed by"),
    ("States/Fetch/ItemSelector/f.$", "States.Array(States.Nope())", "f.$", "no intrinsic function"),
    ("States/Failed/ErrorPath", "error", "States.Failed.ErrorPath", "neither a path"),
    ("States/Failed/Error", "E", "States.Failed", "Error and ErrorPath"),
    ("States/Failed/CausePath", "$.c", "States.Failed", "Cause and CausePath"),
    ("States/Failed/End", True, "States.Failed.End", "no field here"),
    # choice
    ("States/Verdict/Choices", [], "States.Verdict.Choices", "at least one rule"),
    ("States/Verdict/Choices", ..., "States.Verdict", "has no Choices"),
    ("States/Verdict/Choices/0", "x", "States.Verdict.Choices[0]", "expected an object"),
    ("States/Verdict/Choices/0/Next", ..., "States.Verdict.Choices[0]", "has no Next"),
    ("States/Verdict/Choices/0/Variable", ..., "States.Verdict.Choices[0]", "has no Variable"),
    ("States/Verdict/Choices/0/Variable", "verdict", "Choices[0].Variable", "starts with `$`"),
    ("States/Verdict/Choices/0/StringEquals", 3, "Choices[0].StringEquals", "expected a string"),
    ("States/Verdict/Choices/0/StringEquals", ..., "Choices[0]", "has no comparison"),
    ("States/Verdict/Choices/0/StringEqual", "x", "Choices[0].StringEqual", "did you mean 'StringEquals'"),
    ("States/Verdict/Choices/0/IsNull", True, "Choices[0]", "has 2 operators"),
    ("States/Verdict/Choices/1/And", [], "Choices[1].And", "at least one rule"),
    ("States/Verdict/Choices/1/And/0/Next", "Done", "Choices[1].And[0].Next", "outermost rule only"),
    ("States/Verdict/Choices/1/And/0/NumericGreaterThan", "3", "And[0].NumericGreaterThan", "expected a number"),
    ("States/Verdict/Choices/1/And/1/Not", [], "And[1].Not", "expected an object"),
    ("States/Verdict/Choices/1/And/1/Not/IsPresent", "yes", "Not.IsPresent", "true or false"),
    ("States/Verdict/Choices/1/Variable", "$.x", "Choices[1].Variable", "means nothing beside And"),
    ("States/Verdict/Choices/0", {"Variable": "$.t", "TimestampEquals": "1 May", "Next": "Done"}, "Timestamp", "2026"),
    ("States/Verdict/Choices/0", {"Variable": "$.t", "StringEqualsPath": "t", "Next": "Done"}, "Path", "starts with"),
    # map
    ("States/Fetch/ItemProcessor", ..., "States.Fetch", "exactly one of ItemProcessor, Iterator"),
    ("States/Fetch/MaxConcurrency", "4", "States.Fetch.MaxConcurrency", "expected an integer"),
    ("States/Fetch/MaxConcurrencyPath", "$.n", "States.Fetch", "MaxConcurrency and MaxConcurrencyPath"),
    ("States/Fetch/ToleratedFailurePercentage", 10.0, "States.Fetch.Tolerated", "needs the Mode DISTRIBUTED"),
    ("States/Fetch/ItemProcessor/ProcessorConfig/Mode", "INLIN", "ProcessorConfig.Mode", "INLINE or DISTRIBUTED"),
    ("States/Fetch/ItemProcessor/States/One/Next", "Plan", "One", "has Next and End"),
    ("States/Process/ItemProcessor/ProcessorConfig/ExecutionType", ..., "ExecutionType", "STANDARD or EXPRESS"),
    ("States/Process/ToleratedFailurePercentage", 101.0, "ToleratedFailurePercentage", "from 0 to 100"),
    ("States/Process/Label", "a b", "States.Process.Label", "without spaces"),
    ("States/Process/ItemReader/Resource", ..., "States.Process.ItemReader", "has no Resource"),
    ("States/Process/ItemReader/ReaderConfig/InputType", "XML", "ReaderConfig.InputType", "expected CSV"),
    ("States/Process/ItemReader/Parameters/Key.$", "key", "ItemReader.Parameters.Key.$", "neither a path"),
    ("States/Process/ItemBatcher", {"BatchInput": {}}, "States.Process.ItemBatcher", "has no limit"),
    # wait
    ("States/Both/Branches/0/States/Left/Seconds", ..., "States.Left", "exactly one of Seconds"),
    ("States/Both/Branches/0/States/Left/Seconds", "1", "Left.Seconds", "expected an integer"),
    ("States/Both/Branches/0/States/Left/Timestamp", "2026-01-31T00:00:00Z", "States.Left", "exactly one of"),
]


@pytest.mark.parametrize(("place", "value", "where", "what"), FAULTS, ids=[f"{f[0]}={str(f[1])[:30]}" for f in FAULTS])
def test_a_fault_is_found_and_named(place, value, where, what):
    found = problems(changed(place, value))
    assert any(where in line.split(": ")[0] and what in line for line in found), found


def test_a_machine_without_an_end_is_found():
    loop = {
        "StartAt": "A",
        "States": {"A": {"Type": "Pass", "Next": "B"}, "B": {"Type": "Pass", "Next": "A"}},
    }
    assert problems(loop) == ["States: no state ends the machine; add End: true, or a Succeed or Fail state"]


@pytest.mark.parametrize("definition", [None, [], "x", 3])
def test_something_else_than_an_object_is_a_problem_and_no_crash(definition):
    assert len(problems(definition)) == 1


def test_no_mutilation_of_a_machine_crashes_the_check():
    """Every value of the sound machine in turn becomes something of another type."""

    def places(value, at=""):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield f"{at}{key}"
            if isinstance(item, (dict, list)):
                yield from places(item, f"{at}{key}/")

    for place in places(sound()):
        for value in (None, 3, "x", [], {}, [3], {"a": 1}):
            problems(changed(place, value))


@pytest.mark.parametrize(
    "path",
    ["$", "$.a", "$.a.b[0]", "$['a b']", "$.a[0]['b'].c", "$$.Execution.Input.x", "$$", "$variable.x", "$.ü_1-2"],
)
def test_reference_paths_are_accepted(path):
    assert problems(changed("States/Fetch/ItemsPath", path)) == []


@pytest.mark.parametrize("path", ["$.a[*].b", "$..b", "$.a[1:3]", "$.a[-1]", "$.*", "$.a[?(@.b > 1)]", "$.a[0,2]"])
def test_paths_to_many_nodes_are_accepted_where_they_may_stand(path):
    assert problems(changed("States/Plan/InputPath", path)) == []


@pytest.mark.parametrize(
    "call",
    [
        "States.Format('it\\'s {} \\{\\} \\\\', $.a)",
        "States.ArrayRange(0, -9.5, 1e3)",
        "States.JsonMerge($.a, $$.Execution.Input, false)",
        "States.Array( null , true, States.Array() )",
        "States.Format('line\n{}', $.rows[*].id)",
    ],
)
def test_intrinsic_functions_are_accepted(call):
    assert problems(changed("States/Fetch/ItemSelector/id.$", call)) == []


# --- our own rules ---------------------------------------------------------------------------

BREACHES = [
    ("States/Plan/TimeoutSeconds", ..., "Plan: has no TimeoutSeconds"),
    ("States/Plan/Retry", ..., "Plan: has no Retry"),
    ("States/Plan/Catch", ..., "Plan: has no Catch"),
    ("States/Plan/Retry/0/ErrorEquals", ["States.ALL"], "Plan.Retry[0]: retries on everything"),
    ("States/Plan/Retry/0/ErrorEquals", ["States.TaskFailed"], "Plan.Retry[0]: retries on everything"),
    ("States/Plan/Retry/0/MaxDelaySeconds", ..., "Plan.Retry[0]: has no MaxDelaySeconds"),
    ("States/Plan/Retry/0/JitterStrategy", "NONE", "Plan.Retry[0].JitterStrategy"),
    (
        "States/Plan/Parameters/FunctionName",
        "arn:aws:lambda:eu-west-1:123456789012:function:plan",
        "States.Plan.Parameters.FunctionName: has the literal ARN",
    ),
    ("States/Process/ToleratedFailurePercentage", 100, "Process.ToleratedFailurePercentage: is 100"),
    ("States/Process/ToleratedFailurePercentage", ..., "Process.ToleratedFailurePercentage: is None"),
    ("States/Process/ItemProcessor/States/Work/TimeoutSeconds", ..., "Work: has no TimeoutSeconds"),
    ("States/Plan/Catch/0/Next", "DeadLetter", "Failed: the path Plan -> DeadLetter -> Failed catches an error"),
    ("States/Plan/Catch/0/Next", "Failed", "no sns:publish state and no sqs:sendMessage state"),
    ("States/Plan/Catch/0/Next", "Done", "Done: the path Plan -> Done catches an error"),
    ("States/Alert/Next", "Failed", "no sqs:sendMessage state"),
    ("States/AlertQuality/Next", "Failed", "-> AlertQuality -> Failed fails and has no sqs:sendMessage"),
    ("States/Verdict/Default", "Failed", "-> Verdict -> Failed fails and has no sns:publish state"),
    ("States/DeadLetter/Next", "Done", "no Fail state at its end"),
]


@pytest.mark.parametrize(("place", "value", "expected"), BREACHES, ids=[f"{b[0]}={str(b[1])[:30]}" for b in BREACHES])
def test_a_breach_of_our_rules_is_found(place, value, expected):
    found = policy_problems(changed(place, value))
    assert any(expected in line for line in found), found


def test_a_service_integration_may_retry_whatever_its_task_failed_with():
    assert policy_problems(changed("States/Alert/Retry/0/ErrorEquals", ["States.TaskFailed"])) == []
    assert policy_problems(changed("States/Alert/Retry/0/ErrorEquals", ["States.ALL"])) != []


def test_an_alert_before_the_first_error_does_not_count():
    machine = sound()
    machine["States"]["Plan"]["Next"] = "Hello"
    machine["States"]["Hello"] = task(
        "arn:aws:states:::sns:publish", {"TopicArn": "${TopicArn}", "Message": "starting"}, Next="Fetch"
    )
    machine["States"]["Fetch"]["Catch"][0]["Next"] = "DeadLetter"
    assert any("Hello -> Fetch -> DeadLetter -> Failed" in line for line in policy_problems(machine))


# --- files -----------------------------------------------------------------------------------


def test_a_state_that_stands_twice_in_the_file_is_found():
    text = json.dumps(sound()).replace('"Done": {', '"Plan": {"Type": "Pass"}, "Done": {')
    assert any(line.startswith("Plan: stands twice") for line in problems_in(text))


def test_a_file_that_is_not_json_is_a_problem():
    assert "is not JSON" in problems_in("{")[0]


def test_the_command_prints_problems_and_says_so_by_its_status(tmp_path, capsys):
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps(sound()))
    bad.write_text(json.dumps(changed("States/Plan/Next", "Fech")))
    assert check.main([str(good)]) == 0
    assert check.main([str(good), str(bad)]) == 1
    assert "did you mean 'Fetch'" in capsys.readouterr().err


def test_the_pipeline_has_no_problems():
    assert problems_in(PIPELINE.read_text(encoding="utf-8")) == []
