"""The evaluator of policies: what it grants, what it refuses, what it will not guess."""

import pytest

from local import iam
from local.iam import Need, Place, PolicyError

BUCKET = "arn:aws:s3:::lake"


def policy(*statements):
    return {
        "Version": "2012-10-17",
        "Statement": [{"Sid": f"S{number}", "Effect": "Allow", **own} for number, own in enumerate(statements)],
    }


def reads(*patterns, **more):
    return {"Action": ["s3:GetObject"], "Resource": list(patterns), **more}


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("runs/*/manifest.json", "runs/a/manifest.json", True),
        ("runs/*/manifest.json", "runs/a/b/manifest.json", True),  # IAM's star crosses slashes
        ("runs/*/manifest.json", "runs/a/manifest.json.old", False),
        ("part-?.csv", "part-1.csv", True),
        ("part-?.csv", "part-12.csv", False),
        ("a.c", "abc", False),
        ("[ab]", "a", False),
        ("*", "any\nthing", True),
    ],
)
def test_wildcards_are_iams(pattern, text, expected):
    assert iam.matches(pattern, text) is expected


def test_nothing_is_granted_that_no_statement_allows():
    granted = policy(reads(f"{BUCKET}/runs/*"))
    assert iam.allows(granted, "s3:GetObject", f"{BUCKET}/runs/1")
    assert iam.allows(granted, "S3:getobject", f"{BUCKET}/runs/1")  # actions know no case
    assert not iam.allows(granted, "s3:GetObject", f"{BUCKET}/raw/1")
    assert not iam.allows(granted, "s3:GetObject", f"{BUCKET}/RUNS/1")  # resources do
    assert not iam.allows(granted, "s3:PutObject", f"{BUCKET}/runs/1")


def test_a_deny_wins_whichever_document_it_is_in():
    allow, deny = policy(reads("*")), policy(reads(f"{BUCKET}/raw/*", Effect="Deny"))
    for both in ([allow, deny], [deny, allow]):
        assert iam.allows(both, "s3:GetObject", f"{BUCKET}/runs/1")
        assert not iam.allows(both, "s3:GetObject", f"{BUCKET}/raw/1")


def test_a_condition_holds_only_for_a_key_that_the_request_has():
    lists = {"Action": ["s3:ListBucket"], "Resource": [BUCKET]}
    granted = policy({**lists, "Condition": {"StringLike": {"s3:prefix": ["inbox/*", "in"]}}})
    assert iam.refused(granted, "s3", "ListObjectsV2", {"Bucket": "lake", "Prefix": "inbox/a"}) is None
    assert iam.refused(granted, "s3", "ListObjectsV2", {"Bucket": "lake", "Prefix": "in"}) is None
    assert iam.refused(granted, "s3", "ListObjectsV2", {"Bucket": "lake", "Prefix": "raw/"})
    assert iam.refused(granted, "s3", "ListObjectsV2", {"Bucket": "lake"})


def test_an_arns_wildcard_stays_within_its_field():
    given = {"lambda:SourceFunctionArn": "arn:aws:lambda:eu-west-1:123456789012:function:sluice-dev-plan"}
    for pattern, expected in [
        ("arn:aws:lambda:eu-west-1:123456789012:function:sluice-dev-*", True),
        ("arn:aws:lambda:*:123456789012:function:sluice-dev-*", True),
        ("arn:aws:lambda:*:function:sluice-dev-plan", False),
    ]:
        granted = policy(reads("*", Condition={"ArnLike": {"lambda:SourceFunctionArn": [pattern]}}))
        assert iam.allows(granted, "s3:GetObject", "arn:aws:s3:::a", given) is expected


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ({"NotAction": ["s3:GetObject"], "Resource": ["*"]}, "Action is missing"),
        ({**reads("*"), "NotResource": ["*"]}, "NotResource is not used"),
        ({**reads("*"), "Principal": "*"}, "Principal is not used"),
        ({"Action": "s3:GetObject", "Resource": ["*"]}, "Action is a list"),
        ({"Action": ["*"], "Resource": ["*"]}, "no action of one service"),
        (reads("lake/runs/*"), "no ARN"),
        (reads("${BucketArn}/runs/*"), "nobody filled in"),
        (reads("*", Condition={"StringLike": {"s3:prefix": "${Prefix}"}}), "nobody filled in"),
        (reads("*", Condition={"StringNotEquals": {"a": "b"}}), "StringNotEquals is not known"),
        (reads("*", Effect="allow"), "Effect is 'allow'"),
        (reads("*", Sid="not one"), "Sid 'not one'"),
    ],
)
def test_what_is_not_understood_is_an_error_and_never_a_statement_without_effect(statement, reason):
    with pytest.raises(PolicyError, match=reason):
        iam.allows(policy(statement), "s3:GetObject", "arn:aws:s3:::a")


def test_a_document_has_a_version_and_names_each_statement_once():
    with pytest.raises(PolicyError, match="Version"):
        iam.check({"Version": "2008-10-17", "Statement": [reads("*", Sid="A", Effect="Allow")]})
    with pytest.raises(PolicyError, match="with something in it"):
        iam.check(policy())
    with pytest.raises(PolicyError, match="twice: A"):
        iam.check(policy(reads("*", Sid="A"), reads("*", Sid="A")))


@pytest.mark.parametrize(
    ("service", "operation", "parameters", "expected"),
    [
        ("s3", "HeadObject", {"Bucket": "lake", "Key": "a/b"}, [Need("s3:GetObject", f"{BUCKET}/a/b")]),
        ("s3", "UploadPart", {"Bucket": "lake", "Key": "a"}, [Need("s3:PutObject", f"{BUCKET}/a")]),
        (
            "s3",
            "ListObjectsV2",
            {"Bucket": "lake", "Prefix": "a/"},
            [Need("s3:ListBucket", BUCKET, {"s3:prefix": "a/"})],
        ),
        (
            "bedrock-runtime",
            "InvokeModel",
            {"modelId": "amazon.titan-embed-text-v2:0"},
            [Need("bedrock:InvokeModel", "arn:aws:bedrock:us-east-1::foundation-model/amazon.titan-embed-text-v2:0")],
        ),
    ],
)
def test_an_operation_needs_the_action_of_awss_reference(service, operation, parameters, expected):
    assert iam.needs(service, operation, parameters) == expected


def test_data_that_is_encrypted_needs_its_key_through_the_service_that_holds_it():
    place = Place(region="eu-west-1", key="arn:aws:kms:eu-west-1:123456789012:key/k")
    through = {"kms:ViaService": "s3.eu-west-1.amazonaws.com"}
    found = {
        operation: [need.action for need in iam.needs("s3", operation, {"Bucket": "b", "Key": "k"}, place)[1:]]
        for operation in ("GetObject", "PutObject", "UploadPart", "AbortMultipartUpload")
    }
    assert found == {
        "GetObject": ["kms:Decrypt"],
        "PutObject": ["kms:GenerateDataKey"],
        "UploadPart": ["kms:Decrypt", "kms:GenerateDataKey"],
        "AbortMultipartUpload": [],
    }
    assert iam.needs("s3", "GetObject", {"Bucket": "b", "Key": "k"}, place)[1] == Need(
        "kms:Decrypt", place.key, through
    )


def test_a_call_that_is_not_known_is_an_error():
    with pytest.raises(PolicyError, match="s3 GetBucketPolicy"):
        iam.refused(policy(reads("*")), "s3", "GetBucketPolicy", {"Bucket": "lake"})
    with pytest.raises(PolicyError, match="only a whole ARN"):
        iam.refused(policy(reads("*")), "secretsmanager", "GetSecretValue", {"SecretId": "by-name"})
