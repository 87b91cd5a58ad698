"""What the local stack takes from the template is what is deployed, under the local stage's names."""

from deploy.intrinsics import Unknown
from local.declared import Declared
from local.functions import Function
from local.provision import ROLE, Resources

RESOURCES = Resources("http://127.0.0.1:5000")


def test_a_queue_of_the_template_has_the_name_the_url_and_the_arn_that_it_has_in_the_emulation():
    declared = Declared(RESOURCES)
    assert declared.of("AWS::SQS::Queue")["DeadLetters"]["QueueName"] == "sluice-local-dead-letters"
    assert declared.attribute("DeadLetters", None) == RESOURCES.dead_letter_url
    assert declared.attribute("DeadLetters", "Arn") == "arn:aws:sqs:us-east-1:123456789012:sluice-local-dead-letters"


def test_what_refers_to_functions_bucket_topic_role_and_machine_leads_to_those_of_the_stack():
    declared = Declared(RESOURCES)
    assert declared.attribute("FetchPartition", "Arn") == Function("fetch_partition").arn
    assert declared.attribute("FetchPartition", None) == Function("fetch_partition").full_name
    assert declared.attribute("Bucket", None) == RESOURCES.bucket
    assert declared.attribute("AlertsTopic", None) == RESOURCES.topic_arn
    assert declared.attribute("StateMachine", None) == RESOURCES.state_machine_arn
    assert declared.attribute("SchedulerRole", "Arn") == ROLE


def test_what_only_aws_makes_up_is_marked_as_unknown():
    assert isinstance(Declared(RESOURCES).attribute("Key", "Arn"), Unknown)


def test_a_resource_whose_condition_does_not_hold_is_left_out():
    document = {
        "Conditions": {"Never": {"Fn::Equals": ["a", "b"]}},
        "Resources": {
            "Wanted": {
                "Type": "AWS::Kinesis::Stream",
                "Properties": {"Name": {"Fn::Sub": "${AWS::StackName}-changes"}},
            },
            "Unwanted": {"Type": "AWS::Kinesis::Stream", "Condition": "Never", "Properties": {"Name": "other"}},
        },
    }
    declared = Declared(RESOURCES, document=document)
    assert declared.of("AWS::Kinesis::Stream") == {"Wanted": {"Name": "sluice-local-changes"}}
    assert declared.attribute("Wanted", "Arn").endswith(":stream/sluice-local-changes")
