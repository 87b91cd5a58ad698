"""A template's values without CloudFormation: each function as AWS documents it, and nothing else in silence."""

import pytest

from chalicelib.errors import ConfigurationError
from deploy.intrinsics import Evaluator, Unknown, has_unknown

PSEUDO = {"AWS::Region": "eu-west-1", "AWS::AccountId": "123456789012", "AWS::Partition": "aws"}
TEMPLATE = {
    "Parameters": {
        "Stage": {"Type": "String"},
        "Days": {"Type": "Number", "Default": 30},
        "Subnets": {"Type": "CommaDelimitedList", "Default": "a,b"},
    },
    "Conditions": {
        "IsProduction": {"Fn::Equals": [{"Ref": "Stage"}, "prod"]},
        "IsLong": {"Fn::Equals": [{"Ref": "Days"}, "30"]},
        "Both": {"Fn::And": [{"Condition": "IsProduction"}, {"Condition": "IsLong"}]},
        "Either": {"Fn::Or": [{"Condition": "IsProduction"}, {"Condition": "IsLong"}]},
        "Neither": {"Fn::Not": [{"Condition": "Either"}]},
    },
    "Resources": {
        "Bucket": {"Type": "T", "Properties": {}},
        "Spare": {"Type": "T", "Condition": "Neither"},
        "Key": {"Type": "T"},
    },
}


def attribute(logical_id, name):
    known = {("Bucket", None): "the-bucket", ("Bucket", "Arn"): "arn:aws:s3:::the-bucket"}
    return known.get((logical_id, name)) or Unknown(f"{logical_id}.{name}")


@pytest.fixture
def evaluator():
    return Evaluator(TEMPLATE, {"Stage": "dev"}, PSEUDO, attribute)


@pytest.mark.parametrize(
    ("node", "value"),
    [
        ({"Ref": "Stage"}, "dev"),
        ({"Ref": "Days"}, 30),
        ({"Ref": "Subnets"}, ["a", "b"]),
        ({"Ref": "AWS::Region"}, "eu-west-1"),
        ({"Ref": "Bucket"}, "the-bucket"),
        ({"Fn::GetAtt": ["Bucket", "Arn"]}, "arn:aws:s3:::the-bucket"),
        ({"Fn::GetAtt": "Bucket.Arn"}, "arn:aws:s3:::the-bucket"),
        ({"Fn::Sub": "${Stage}-${AWS::Region}-${Bucket}-${Bucket.Arn}-${Days}"},
         "dev-eu-west-1-the-bucket-arn:aws:s3:::the-bucket-30"),
        ({"Fn::Sub": "${!Stage}"}, "${Stage}"),
        ({"Fn::Sub": ["${A}/${Stage}", {"A": {"Ref": "Bucket"}}]}, "the-bucket/dev"),
        ({"Fn::If": ["IsProduction", "p", {"Ref": "Stage"}]}, "dev"),
        ({"Fn::Join": ["-", ["a", {"Ref": "Stage"}, 7, True]]}, "a-dev-7-true"),
        ({"Fn::Join": [",", {"Ref": "Subnets"}]}, "a,b"),
        ({"Fn::Select": ["1", {"Fn::Split": [":", "x:y:z"]}]}, "y"),
        ({"a": [1, {"Ref": "AWS::NoValue"}, {"b": {"Ref": "AWS::NoValue"}, "c": 2}]}, {"a": [1, {"c": 2}]}),
        ([{"Fn::If": ["IsProduction", "x", {"Ref": "AWS::NoValue"}]}], []),
        ({"Condition": {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}},
         {"Condition": {"StringEquals": {"aws:SourceAccount": "123456789012"}}}),
    ],
)  # fmt: skip
def test_functions_have_the_values_that_aws_documents(evaluator, node, value):
    assert evaluator.value(node) == value


@pytest.mark.parametrize(
    ("name", "holds"),
    [("IsProduction", False), ("IsLong", True), ("Both", False), ("Either", True), ("Neither", False)],
)
def test_conditions_hold_numbers_and_text_alike(evaluator, name, holds):
    assert evaluator.condition(name) is holds


def test_resources_whose_condition_does_not_hold_are_not_there(evaluator):
    assert set(evaluator.resources()) == {"Bucket", "Key"}


@pytest.mark.parametrize(
    "node",
    [
        {"Ref": "Key"},
        {"Fn::Sub": "x-${Key.Arn}"},
        {"Fn::Join": ["", ["a", {"Fn::GetAtt": ["Key", "Arn"]}]]},
        {"deep": [{"Fn::Select": [0, {"Fn::Split": ["/", {"Ref": "Key"}]}]}]},
    ],
)
def test_what_aws_makes_up_stays_unknown_until_it_is_there(evaluator, node):
    value = evaluator.value(node)
    assert has_unknown(value)


def test_references_go_through_the_branches_that_count_alone(evaluator):
    node = {
        "a": {"Fn::If": ["IsProduction", {"Ref": "Spare"}, {"Fn::GetAtt": ["Key", "Arn"]}]},
        "b": {"Fn::Sub": ["${Bucket}${own}${Stage}", {"own": {"Ref": "Bucket"}}]},
    }
    assert set(evaluator.references(node)) == {"Key", "Bucket"}


def test_only_the_branch_that_counts_is_worked_out(evaluator):
    assert evaluator.value({"Fn::If": ["IsProduction", {"Fn::ImportValue": "x"}, "kept"]}) == "kept"


@pytest.mark.parametrize(
    ("node", "names"),
    [
        ({"Fn::ImportValue": "x"}, "Fn::ImportValue"),
        ({"Fn::If": ["Unheard", 1, 2]}, "Unheard"),
        ({"Fn::FindInMap": ["a", "b", "c"]}, "Fn::FindInMap"),
    ],
)
def test_what_is_not_understood_is_an_error_by_name(evaluator, node, names):
    with pytest.raises(ConfigurationError, match=names):
        evaluator.value(node)


def test_parameters_without_a_value_and_values_without_a_parameter_are_errors_by_name():
    with pytest.raises(ConfigurationError, match="Stage"):
        Evaluator(TEMPLATE, {}, PSEUDO, attribute)
    with pytest.raises(ConfigurationError, match="Stagee"):
        Evaluator(TEMPLATE, {"Stagee": "dev", "Stage": "dev"}, PSEUDO, attribute)


def test_what_is_not_known_yet_says_what_it_is(evaluator):
    assert "Key.Arn, known once it is made" in str(evaluator.value({"Fn::GetAtt": ["Key", "Arn"]}))
