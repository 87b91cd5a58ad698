"""A plan is data: in the order in which resources need each other, printed so that a person can agree to it."""

import pytest

from chalicelib.errors import ConfigurationError
from deploy import plan
from deploy.kinds import Aws
from deploy.kinds.base import Difference
from deploy.plan import CREATE, DELETE, REPLACE, UNCHANGED, UPDATE, Plan, Resources, Step
from deploy.record import Made, Record

AWS = Aws("123456789012", "eu-west-1", "aws", "dev", bucket="lake")


def topic(name, **more):
    return {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": name, **more}}


def resources(**made):
    return Resources(AWS, {"Resources": made})


def test_what_is_needed_comes_first_whatever_the_phases_say():
    made = resources(
        Topic=topic("alerts", KmsMasterKeyId={"Ref": "Key"}),
        Key={"Type": "AWS::KMS::Key", "Properties": {"KeyPolicy": {}, "Description": {"Ref": "Late"}}},
        Late={"Type": "AWS::Scheduler::ScheduleGroup", "Properties": {"Name": "late"}},
    )
    assert made.order() == ["Late", "Key", "Topic"]


def test_what_depends_on_something_comes_after_it():
    made = resources(A={**topic("a"), "DependsOn": "B"}, B={**topic("b"), "DependsOn": ["C"]}, C=topic("c"))
    assert made.order() == ["C", "B", "A"]


def test_a_circle_is_named():
    made = resources(A={**topic("a"), "DependsOn": "B"}, B={**topic("b"), "DependsOn": "A"})
    with pytest.raises(ConfigurationError, match="A, B need each other"):
        made.order()


def test_all_that_it_does_not_know_is_named_at_once():
    made = resources(
        Table={"Type": "AWS::DynamoDB::Table", "Properties": {}},
        Topic=topic("alerts", FifoTopic=True),
        Nameless={"Type": "AWS::SNS::Topic", "Properties": {}},
        Lost=topic("lost", KmsMasterKeyId={"Ref": "Kye"}),
    )
    assert sorted(fault.split(":")[0].split(" ")[0] for fault in made.faults()) == [
        "Lost",
        "Nameless",
        "Table",
        "Topic",
    ]
    with pytest.raises(ConfigurationError) as raised:
        plan.make(made, Record())
    for part in ("AWS::DynamoDB::Table", "FifoTopic", "TopicName is missing", "Kye, which is no resource"):
        assert part in str(raised.value)


@pytest.mark.parametrize(
    ("step", "lines"),
    [
        (Step(CREATE, "Alerts", "AWS::SNS::Topic"), ["+ create AWS::SNS::Topic Alerts"]),
        (Step(DELETE, "Alerts", "AWS::SNS::Topic", "arn"), ["- delete AWS::SNS::Topic Alerts (arn)"]),
        (
            Step(UPDATE, "Load", "AWS::Lambda::Function", "f", (Difference("Timeout", "3", "60"),)),
            ["~ update AWS::Lambda::Function Load (f)", "Timeout: 3 → 60"],
        ),
        (
            Step(
                REPLACE,
                "Load",
                "AWS::Lambda::Function",
                "f",
                (Difference("Environment", {"Variables": {"A": "1", "B": "2"}}, {"Variables": {"A": "1", "B": "3"}}),),
            ),
            ["± replace AWS::Lambda::Function Load (f)", "Environment.Variables.B: 2 → 3"],
        ),
        (
            Step(UPDATE, "Alerts", "AWS::SNS::Topic", "arn", (Difference("DisplayName", None, "x" * 200),)),
            ["~ update AWS::SNS::Topic Alerts (arn)", f"DisplayName: nothing → {'x' * 69}…"],
        ),
    ],
)
def test_a_step_is_said_with_what_changes_and_no_more(step, lines):
    assert [" ".join(line.split()) for line in step.lines()] == lines


def test_what_stays_is_counted_and_not_listed():
    made = Plan((Step(UNCHANGED, "A", "AWS::SNS::Topic", "a"), Step(CREATE, "B", "AWS::SNS::Topic")))
    assert [line.split("  ")[0] for line in made.lines()] == ["+ create", "1 to create", "1 unchanged"]
    assert [step.logical_id for step in made.changes] == ["B"]
    assert made.summary() == "1 created"


def test_a_plan_without_changes_says_so():
    assert list(Plan((Step(UNCHANGED, "A", "AWS::SNS::Topic", "a"),)).lines()) == ["nothing to change", "1 unchanged"]


def test_what_stood_under_an_id_before_is_remembered_until_it_is_gone():
    record = Record({"Layer": Made("AWS::Lambda::LayerVersion", "layer:1")})
    record.replace("Layer", Made("AWS::Lambda::LayerVersion", "layer:2"))
    assert record.dropped == [Made("AWS::Lambda::LayerVersion", "layer:1")]
    record.replace("Layer", Made("AWS::Lambda::LayerVersion", "layer:2"))
    assert len(record.dropped) == 1
