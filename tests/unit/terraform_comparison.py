"""A CloudFormation template's resources as those of Terraform's AWS provider: what must be there, with which arguments.

Each type has a translation that takes every property it knows out of a copy; what is left over at the
end is a property that nobody compares, and an error. The same on Terraform's side: an argument that
no translation gives must be in ONLY_TERRAFORM with its reason.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

# arguments that CloudFormation has no property for, or says otherwise
ONLY_TERRAFORM = {
    "aws_db_instance": {
        "skip_final_snapshot",  # DeletionPolicy: Snapshot
        "final_snapshot_identifier",
        "password_wo",  # MasterUserPassword, without a place in the state
        "password_wo_version",
        "username",  # resolved from the secret there
    },
    "aws_db_parameter_group": {"name_prefix"},  # CloudFormation makes the name up
    "aws_security_group": {"name"},  # likewise
}

# made for functions, layers and the API, which the template leaves to Chalice; and the secret's value, which
# CloudFormation generates in place
NOT_IN_TEMPLATE = {
    "aws_api_gateway_deployment",
    "aws_api_gateway_method_settings",
    "aws_api_gateway_rest_api",
    "aws_api_gateway_stage",
    "aws_lambda_function",
    "aws_lambda_layer_version",
    "aws_lambda_permission",
    "aws_s3_object",
    "aws_secretsmanager_secret_version",
}

Found = Iterator[tuple[str, str, dict]]  # (type, identity, arguments)


class Properties(dict):
    """Properties that are taken out one by one."""

    def take(self, name: str, default: Any = None) -> Any:
        return self.pop(name, default)

    def below(self, name: str) -> Properties:
        return Properties(self.pop(name, {}))

    def done(self, what: str) -> None:
        assert not self, f"{what}: nobody compares {', '.join(self)}"


def policy(document: Any) -> Any:
    """A policy in one form: lists where one value may stand alone, in order."""
    document = json.loads(document) if isinstance(document, str) else document
    statements = []
    for statement in document["Statement"]:
        statement = dict(statement)
        for name in ("Action", "Resource"):
            if name in statement:
                statement[name] = _listed(statement[name])
        principal = statement.get("Principal")
        if isinstance(principal, dict):
            statement["Principal"] = {kind: _listed(value) for kind, value in principal.items()}
        if "Condition" in statement:
            statement["Condition"] = {
                operator: {key: _listed(value) for key, value in wanted.items()}
                for operator, wanted in statement["Condition"].items()
            }
        statements.append(statement)
    return {**document, "Statement": statements}


def _listed(value: Any) -> list:
    return sorted(value) if isinstance(value, list) else [value]


def translated(logical_id: str, kind: str, properties: dict) -> list[tuple[str, str, dict]]:
    """What a resource of the template is in Terraform; its tags, which are Terraform's own matter, aside."""
    given = Properties(properties)
    given.take("Tags")
    found = list(TRANSLATIONS[kind](given))
    given.done(f"{logical_id} ({kind})")
    return found


# --- types -------------------------------------------------------------------------------------


def _key(given: Properties) -> Found:
    yield (
        "aws_kms_key",
        "",
        {
            "description": given.take("Description"),
            "enable_key_rotation": given.take("EnableKeyRotation"),
            "deletion_window_in_days": given.take("PendingWindowInDays"),
            "policy": policy(given.take("KeyPolicy")),
        },
    )


def _bucket(given: Properties) -> Found:
    name = given.take("BucketName")
    yield "aws_s3_bucket", name, {"bucket": name}
    ownership = given.below("OwnershipControls").take("Rules")
    yield (
        "aws_s3_bucket_ownership_controls",
        name,
        {"bucket": name, "rule": [{"object_ownership": rule["ObjectOwnership"]} for rule in ownership]},
    )
    block = given.below("PublicAccessBlockConfiguration")
    yield (
        "aws_s3_bucket_public_access_block",
        name,
        {
            "bucket": name,
            "block_public_acls": block.take("BlockPublicAcls"),
            "block_public_policy": block.take("BlockPublicPolicy"),
            "ignore_public_acls": block.take("IgnorePublicAcls"),
            "restrict_public_buckets": block.take("RestrictPublicBuckets"),
        },
    )
    status = given.below("VersioningConfiguration").take("Status")
    yield "aws_s3_bucket_versioning", name, {"bucket": name, "versioning_configuration": [{"status": status}]}
    [rule] = given.below("BucketEncryption").take("ServerSideEncryptionConfiguration")
    by_default = rule["ServerSideEncryptionByDefault"]
    yield (
        "aws_s3_bucket_server_side_encryption_configuration",
        name,
        {
            "bucket": name,
            "rule": [
                {
                    "bucket_key_enabled": rule["BucketKeyEnabled"],
                    "apply_server_side_encryption_by_default": [
                        {
                            "sse_algorithm": by_default["SSEAlgorithm"],
                            "kms_master_key_id": by_default["KMSMasterKeyID"],
                        }
                    ],
                }
            ],
        },
    )
    rules = [_lifecycle(Properties(rule)) for rule in given.below("LifecycleConfiguration").take("Rules")]
    yield "aws_s3_bucket_lifecycle_configuration", name, {"bucket": name, "rule": rules}
    notices = given.below("NotificationConfiguration").take("QueueConfigurations")
    yield "aws_s3_bucket_notification", name, {"bucket": name, "queue": [_notice(Properties(n)) for n in notices]}


def _notice(given: Properties) -> dict:
    [rule] = given.below("Filter").below("S3Key").take("Rules")
    made = {
        "queue_arn": given.take("Queue"),
        "events": [given.take("Event")],
        f"filter_{rule['Name']}": rule["Value"],
    }
    given.done("a notice of the bucket")
    return made


def _lifecycle(given: Properties) -> dict:
    rule: dict[str, Any] = {
        "id": given.take("Id"),
        "status": given.take("Status"),
        "filter": [{"prefix": given.take("Prefix", "")}],
    }
    if "Transitions" in given:
        rule["transition"] = [
            {"days": move["TransitionInDays"], "storage_class": move["StorageClass"]}
            for move in given.take("Transitions")
        ]
    if "ExpirationInDays" in given:
        rule["expiration"] = [{"days": int(given.take("ExpirationInDays"))}]
    if "ExpiredObjectDeleteMarker" in given:
        rule["expiration"] = [{"expired_object_delete_marker": given.take("ExpiredObjectDeleteMarker")}]
    if "NoncurrentVersionExpiration" in given:
        days = given.below("NoncurrentVersionExpiration").take("NoncurrentDays")
        rule["noncurrent_version_expiration"] = [{"noncurrent_days": days}]
    if "AbortIncompleteMultipartUpload" in given:
        days = given.below("AbortIncompleteMultipartUpload").take("DaysAfterInitiation")
        rule["abort_incomplete_multipart_upload"] = [{"days_after_initiation": days}]
    given.done("a rule of the lifecycle")
    return rule


def _role(given: Properties) -> Found:
    name = given.take("RoleName")
    yield (
        "aws_iam_role",
        name,
        {
            "name": name,
            "description": given.take("Description"),
            "assume_role_policy": policy(given.take("AssumeRolePolicyDocument")),
        },
    )
    for inline in given.take("Policies", []):
        called = inline["PolicyName"]
        arguments = {"name": called, "role": name, "policy": policy(inline["PolicyDocument"])}
        yield "aws_iam_role_policy", f"{name}/{called}", arguments
    for arn in given.take("ManagedPolicyArns", []):
        yield "aws_iam_role_policy_attachment", f"{name}/{arn}", {"role": name, "policy_arn": arn}


def _state_machine(given: Properties) -> Found:
    name = given.take("StateMachineName")
    definition = given.take("DefinitionString")
    for placeholder, value in given.take("DefinitionSubstitutions").items():
        definition = definition.replace("${" + placeholder + "}", value)
    logging = given.below("LoggingConfiguration")
    [destination] = logging.take("Destinations")
    yield (
        "aws_sfn_state_machine",
        name,
        {
            "name": name,
            "type": given.take("StateMachineType"),
            "role_arn": given.take("RoleArn"),
            "definition": json.loads(definition),
            "logging_configuration": [
                {
                    "level": logging.take("Level"),
                    "include_execution_data": logging.take("IncludeExecutionData") in (True, "true"),
                    # Terraform's provider wants the suffix that CloudFormation's attribute has
                    "log_destination": destination["CloudWatchLogsLogGroup"]["LogGroupArn"],
                }
            ],
            "tracing_configuration": [{"enabled": given.below("TracingConfiguration").take("Enabled")}],
        },
    )


def _mapping(given: Properties) -> Found:
    arguments = _renamed(given, MAPPING)
    if "ScalingConfig" in given:
        concurrency = given.below("ScalingConfig").take("MaximumConcurrency")
        arguments["scaling_config"] = [{"maximum_concurrency": concurrency}]
    if "DestinationConfig" in given:
        failures = given.below("DestinationConfig").take("OnFailure")
        arguments["destination_config"] = [{"on_failure": [{"destination_arn": failures["Destination"]}]}]
    yield "aws_lambda_event_source_mapping", arguments["event_source_arn"], arguments


MAPPING = {
    "FunctionName": "function_name",
    "EventSourceArn": "event_source_arn",
    "BatchSize": "batch_size",
    "MaximumBatchingWindowInSeconds": "maximum_batching_window_in_seconds",
    "FunctionResponseTypes": "function_response_types",
    "StartingPosition": "starting_position",
    "BisectBatchOnFunctionError": "bisect_batch_on_function_error",
    "MaximumRetryAttempts": "maximum_retry_attempts",
}


def _stream(given: Properties) -> Found:
    encryption = given.below("StreamEncryption")
    arguments = {
        "name": given.take("Name"),
        "retention_period": given.take("RetentionPeriodHours"),
        "encryption_type": encryption.take("EncryptionType"),
        "kms_key_id": encryption.take("KeyId"),
        "stream_mode_details": [{"stream_mode": given.below("StreamModeDetails").take("StreamMode")}],
    }
    yield "aws_kinesis_stream", arguments["name"], arguments


def _schedule(given: Properties) -> Found:
    name, target = given.take("Name"), given.below("Target")
    retry = target.below("RetryPolicy")
    yield (
        "aws_scheduler_schedule",
        name,
        {
            "name": name,
            "group_name": given.take("GroupName"),
            "description": given.take("Description"),
            "schedule_expression": given.take("ScheduleExpression"),
            "schedule_expression_timezone": given.take("ScheduleExpressionTimezone"),
            "state": given.take("State"),
            "flexible_time_window": [{"mode": given.below("FlexibleTimeWindow").take("Mode")}],
            "target": [
                {
                    "arn": target.take("Arn"),
                    "role_arn": target.take("RoleArn"),
                    "input": target.take("Input"),
                    "retry_policy": [
                        {
                            "maximum_event_age_in_seconds": retry.take("MaximumEventAgeInSeconds"),
                            "maximum_retry_attempts": retry.take("MaximumRetryAttempts"),
                        }
                    ],
                    "dead_letter_config": [{"arn": target.below("DeadLetterConfig").take("Arn")}],
                }
            ],
        },
    )
    target.done(f"the target of {name}")


def _alarm(given: Properties) -> Found:
    name = given.take("AlarmName")
    yield (
        "aws_cloudwatch_metric_alarm",
        name,
        {
            "alarm_name": name,
            "alarm_description": given.take("AlarmDescription"),
            "namespace": given.take("Namespace"),
            "metric_name": given.take("MetricName"),
            "dimensions": {each["Name"]: each["Value"] for each in given.take("Dimensions", [])},
            **{name: given.take(key) for key, name in STATISTICS.items() if key in given},
            "period": given.take("Period"),
            "evaluation_periods": str(given.take("EvaluationPeriods")),
            "threshold": given.take("Threshold"),
            "comparison_operator": given.take("ComparisonOperator"),
            "treat_missing_data": given.take("TreatMissingData"),
            "alarm_actions": given.take("AlarmActions"),
        },
    )


STATISTICS = {
    "Statistic": "statistic",
    "ExtendedStatistic": "extended_statistic",
    "EvaluateLowSampleCountPercentile": "evaluate_low_sample_count_percentiles",
}


def _domain_name(given: Properties) -> Found:
    name = given.take("DomainName")
    yield (
        "aws_api_gateway_domain_name",
        name,
        {
            "domain_name": name,
            "regional_certificate_arn": given.take("RegionalCertificateArn"),
            "security_policy": given.take("SecurityPolicy"),
            "endpoint_configuration": [{"types": given.below("EndpointConfiguration").take("Types")}],
        },
    )


def _usage_plan(given: Properties) -> Found:
    name = given.take("UsagePlanName")
    yield (
        "aws_api_gateway_usage_plan",
        name,
        {
            "name": name,
            "description": given.take("Description"),
            "api_stages": [{"api_id": each["ApiId"], "stage": each["Stage"]} for each in given.take("ApiStages")],
            "quota_settings": [_renamed(given.below("Quota"), {"Limit": "limit", "Period": "period"})],
            "throttle_settings": [
                _renamed(given.below("Throttle"), {"RateLimit": "rate_limit", "BurstLimit": "burst_limit"})
            ],
        },
    )


def _rules(given: Properties, group: str, direction: str, rules: list[dict]) -> Found:
    peers = {
        "CidrIp": "cidr_ipv4",
        "SourceSecurityGroupId": "referenced_security_group_id",
        "DestinationSecurityGroupId": "referenced_security_group_id",
    }
    for rule in rules:
        # CloudFormation's way to have no rule; a group of Terraform's has none to begin with
        if rule.get("CidrIp") == "127.0.0.1/32":
            continue
        [(peer, argument)] = [(rule[name], argument) for name, argument in peers.items() if name in rule]
        arguments = {
            "security_group_id": group,
            "description": rule["Description"],
            "ip_protocol": rule["IpProtocol"],
            "from_port": rule["FromPort"],
            "to_port": rule["ToPort"],
            argument: peer,
        }
        yield f"aws_vpc_security_group_{direction}_rule", f"{group}/{rule['Description']}", arguments


def _security_group(given: Properties) -> Found:
    description = given.take("GroupDescription")
    group = f"<{description.split(' ')[0]}SecurityGroup.GroupId>"
    yield "aws_security_group", description, {"description": description, "vpc_id": given.take("VpcId")}
    yield from _rules(given, group, "ingress", given.take("SecurityGroupIngress", []))
    yield from _rules(given, group, "egress", given.take("SecurityGroupEgress", []))


def _replication_endpoint(given: Properties) -> Found:
    """An endpoint of DMS; what CloudFormation has among PostgreSQL's settings, Terraform partly has beside them."""
    arguments = _renamed(given, ENDPOINT)
    if "PostgreSqlSettings" in given:
        settings = given.below("PostgreSqlSettings")
        arguments["secrets_manager_arn"] = settings.take("SecretsManagerSecretId")
        arguments["secrets_manager_access_role_arn"] = settings.take("SecretsManagerAccessRoleArn")
        arguments["postgres_settings"] = [{_snake(name): value for name, value in settings.items()}]
    if "KinesisSettings" in given:
        settings = {_snake(name): value for name, value in given.below("KinesisSettings").items()}
        # CloudFormation has no such property; docs/change-data-capture.md says what to do
        arguments["kinesis_settings"] = [{**settings, "use_large_integer_value": True}]
    yield "aws_dms_endpoint", arguments["endpoint_id"], arguments


ENDPOINT = {
    "EndpointIdentifier": "endpoint_id",
    "EndpointType": "endpoint_type",
    "EngineName": "engine_name",
    "DatabaseName": "database_name",
    "SslMode": "ssl_mode",
    "KmsKeyId": "kms_key_arn",
}


def _replication(given: Properties) -> Found:
    compute = {_snake(name): value for name, value in given.take("ComputeConfig").items()}
    arguments = _renamed(given, REPLICATION)
    arguments["replication_settings"] = given.take("ReplicationSettings")
    arguments["compute_config"] = [compute]
    yield "aws_dms_replication_config", arguments["replication_config_identifier"], arguments


REPLICATION = {
    "ReplicationConfigIdentifier": "replication_config_identifier",
    "ReplicationType": "replication_type",
    "SourceEndpointArn": "source_endpoint_arn",
    "TargetEndpointArn": "target_endpoint_arn",
    "TableMappings": "table_mappings",
}


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def _one_rule(direction: str) -> Callable[[Properties], Found]:
    def translate(given: Properties) -> Found:
        rule = dict(given)
        given.clear()
        yield from _rules(given, rule.pop("GroupId"), direction, [rule])

    return translate


def _parameters(given: Properties) -> Found:
    parameters = [{"name": name, "value": value} for name, value in given.take("Parameters").items()]
    arguments = {"description": given.take("Description"), "family": given.take("Family"), "parameter": parameters}
    yield "aws_db_parameter_group", "", arguments


def _proxy(given: Properties) -> Found:
    [auth] = given.take("Auth")
    name = given.take("DBProxyName")
    yield (
        "aws_db_proxy",
        name,
        {
            "name": name,
            "engine_family": given.take("EngineFamily"),
            "require_tls": given.take("RequireTLS"),
            "role_arn": given.take("RoleArn"),
            "vpc_subnet_ids": given.take("VpcSubnetIds"),
            "vpc_security_group_ids": given.take("VpcSecurityGroupIds"),
            "auth": [{"auth_scheme": auth["AuthScheme"], "iam_auth": auth["IAMAuth"], "secret_arn": auth["SecretArn"]}],
        },
    )


def _proxy_targets(given: Properties) -> Found:
    proxy, group = given.take("DBProxyName"), given.take("TargetGroupName")
    yield "aws_db_proxy_default_target_group", "", {"db_proxy_name": proxy}
    [database] = given.take("DBInstanceIdentifiers")
    arguments = {"db_proxy_name": proxy, "target_group_name": group, "db_instance_identifier": database}
    yield "aws_db_proxy_target", "", arguments


def _database(given: Properties) -> Found:
    given.take("MasterUsername")  # resolved from the secret, where Terraform puts the same
    given.take("MasterUserPassword")
    arguments = _renamed(given, DATABASE)
    arguments["multi_az"] = arguments["multi_az"] in (True, "true")
    # AWS raises the rest by itself, which Terraform would take back
    arguments["engine_version"] = arguments["engine_version"].split(".")[0]
    yield "aws_db_instance", arguments["identifier"], arguments


DATABASE = {
    "DBInstanceIdentifier": "identifier",
    "DBName": "db_name",
    "Engine": "engine",
    "EngineVersion": "engine_version",
    "DBInstanceClass": "instance_class",
    "StorageType": "storage_type",
    "AllocatedStorage": "allocated_storage",
    "MaxAllocatedStorage": "max_allocated_storage",
    "StorageEncrypted": "storage_encrypted",
    "KmsKeyId": "kms_key_id",
    "EnableIAMDatabaseAuthentication": "iam_database_authentication_enabled",
    "DBSubnetGroupName": "db_subnet_group_name",
    "DBParameterGroupName": "parameter_group_name",
    "VPCSecurityGroups": "vpc_security_group_ids",
    "PubliclyAccessible": "publicly_accessible",
    "MultiAZ": "multi_az",
    "BackupRetentionPeriod": "backup_retention_period",
    "CopyTagsToSnapshot": "copy_tags_to_snapshot",
    "DeletionProtection": "deletion_protection",
    "DeleteAutomatedBackups": "delete_automated_backups",
    "AutoMinorVersionUpgrade": "auto_minor_version_upgrade",
    "MonitoringInterval": "monitoring_interval",
    "MonitoringRoleArn": "monitoring_role_arn",
    "EnablePerformanceInsights": "performance_insights_enabled",
    "PerformanceInsightsKMSKeyId": "performance_insights_kms_key_id",
    "PerformanceInsightsRetentionPeriod": "performance_insights_retention_period",
    "EnableCloudwatchLogsExports": "enabled_cloudwatch_logs_exports",
}


def _renamed(given: Properties, names: dict[str, str]) -> dict:
    return {argument: given.take(name) for name, argument in names.items() if name in given}


def _plain(kind: str, identity: str, names: dict[str, str]) -> Callable[[Properties], Found]:
    """A type whose properties only have other names; `identity` is the argument that tells one from another."""

    def translate(given: Properties) -> Found:
        arguments = _renamed(given, names)
        for name in ("policy", "dashboard_body", "redrive_policy"):
            if name in arguments:
                given_as = arguments[name]
                text = given_as if isinstance(given_as, str) else json.dumps(given_as)
                arguments[name] = policy(given_as) if name == "policy" else json.loads(text)
        yield kind, str(arguments[identity]) if identity else "", arguments

    return translate


def _attached(kind: str, argument: str, owners: str) -> Callable[[Properties], Found]:
    """A policy of a topic or a queue, which CloudFormation attaches to several."""

    def translate(given: Properties) -> Found:
        [owner] = given.take(owners)
        yield kind, owner, {argument: owner, "policy": policy(given.take("PolicyDocument"))}

    return translate


def _repository(given: Properties) -> Found:
    name = given.take("RepositoryName")
    scan = given.below("ImageScanningConfiguration").take("ScanOnPush")
    arguments = {"name": name, "image_tag_mutability": given.take("ImageTagMutability")}
    arguments |= {"force_delete": given.take("EmptyOnDelete")}
    yield "aws_ecr_repository", name, {**arguments, "image_scanning_configuration": [{"scan_on_push": scan}]}


def _cluster(given: Properties) -> Found:
    name = given.take("ClusterName")
    settings = [{"name": each["Name"], "value": each["Value"]} for each in given.take("ClusterSettings")]
    yield "aws_ecs_cluster", name, {"name": name, "setting": settings}


def _task_definition(given: Properties) -> Found:
    family = given.take("Family")
    platform = given.take("RuntimePlatform")
    yield (
        "aws_ecs_task_definition",
        family,
        {
            "family": family,
            "requires_compatibilities": given.take("RequiresCompatibilities"),
            "network_mode": given.take("NetworkMode"),
            "cpu": given.take("Cpu"),
            "memory": given.take("Memory"),
            "execution_role_arn": given.take("ExecutionRoleArn"),
            "task_role_arn": given.take("TaskRoleArn"),
            "runtime_platform": [
                {
                    "cpu_architecture": platform["CpuArchitecture"],
                    "operating_system_family": platform["OperatingSystemFamily"],
                }
            ],
            "volume": [{"name": each["Name"]} for each in given.take("Volumes")],
            "container_definitions": [_container(each) for each in given.take("ContainerDefinitions")],
        },
    )


def _container(given: dict) -> dict:
    made = _small_letters(given)
    return {**made, "environment": sorted(made["environment"], key=lambda variable: variable["name"])}


def _small_letters(value: Any, keep: bool = False) -> Any:
    """Names as ECS' own API has them; what a log driver's options are called is no name of ECS."""
    if isinstance(value, dict):
        return {
            name if keep else name[0].lower() + name[1:]: _small_letters(item, name == "Options")
            for name, item in value.items()
        }
    return [_small_letters(item) for item in value] if isinstance(value, list) else value


def _nothing(given: Properties) -> Found:
    given.clear()
    yield from ()


TRANSLATIONS: dict[str, Callable[[Properties], Found]] = {
    "AWS::ApiGateway::DomainName": _domain_name,
    "AWS::ApiGateway::BasePathMapping": _plain(
        "aws_api_gateway_base_path_mapping",
        "domain_name",
        {"DomainName": "domain_name", "RestApiId": "api_id", "Stage": "stage_name"},
    ),
    "AWS::ApiGateway::UsagePlan": _usage_plan,
    "AWS::KMS::Key": _key,
    "AWS::KMS::Alias": _plain("aws_kms_alias", "name", {"AliasName": "name", "TargetKeyId": "target_key_id"}),
    "AWS::S3::Bucket": _bucket,
    "AWS::S3::BucketPolicy": _plain("aws_s3_bucket_policy", "", {"Bucket": "bucket", "PolicyDocument": "policy"}),
    "AWS::SNS::Topic": _plain("aws_sns_topic", "name", {"TopicName": "name", "KmsMasterKeyId": "kms_master_key_id"}),
    "AWS::SNS::TopicPolicy": _attached("aws_sns_topic_policy", "arn", "Topics"),
    "AWS::SNS::Subscription": _plain(
        "aws_sns_topic_subscription",
        "endpoint",
        {"TopicArn": "topic_arn", "Protocol": "protocol", "Endpoint": "endpoint"},
    ),
    "AWS::SQS::Queue": _plain(
        "aws_sqs_queue",
        "name",
        {
            "QueueName": "name",
            "KmsMasterKeyId": "kms_master_key_id",
            "MessageRetentionPeriod": "message_retention_seconds",
            "VisibilityTimeout": "visibility_timeout_seconds",
            "RedrivePolicy": "redrive_policy",
        },
    ),
    "AWS::SQS::QueuePolicy": _attached("aws_sqs_queue_policy", "queue_url", "Queues"),
    "AWS::SecretsManager::Secret": lambda given: (
        given.take("GenerateSecretString"),  # aws_secretsmanager_secret_version
        _plain(
            "aws_secretsmanager_secret",
            "name",
            {"Name": "name", "Description": "description", "KmsKeyId": "kms_key_id"},
        )(given),
    )[1],
    # it writes host and port into the secret; Terraform gives the functions the host as SLUICE_DATABASE_HOST
    "AWS::SecretsManager::SecretTargetAttachment": _nothing,
    "AWS::Logs::LogGroup": _plain(
        "aws_cloudwatch_log_group", "name", {"LogGroupName": "name", "RetentionInDays": "retention_in_days"}
    ),
    "AWS::StepFunctions::StateMachine": _state_machine,
    "AWS::Kinesis::Stream": _stream,
    "AWS::Lambda::EventSourceMapping": _mapping,
    "AWS::IAM::Role": _role,
    "AWS::Scheduler::ScheduleGroup": _plain("aws_scheduler_schedule_group", "name", {"Name": "name"}),
    "AWS::Scheduler::Schedule": _schedule,
    "AWS::CloudWatch::Alarm": _alarm,
    "AWS::CloudWatch::Dashboard": _plain(
        "aws_cloudwatch_dashboard",
        "dashboard_name",
        {"DashboardName": "dashboard_name", "DashboardBody": "dashboard_body"},
    ),
    "AWS::EC2::SecurityGroup": _security_group,
    "AWS::EC2::SecurityGroupIngress": _one_rule("ingress"),
    "AWS::EC2::SecurityGroupEgress": _one_rule("egress"),
    "AWS::ECR::Repository": _repository,
    "AWS::ECS::Cluster": _cluster,
    "AWS::ECS::TaskDefinition": _task_definition,
    "AWS::DMS::Endpoint": _replication_endpoint,
    "AWS::DMS::ReplicationConfig": _replication,
    "AWS::DMS::ReplicationSubnetGroup": _plain(
        "aws_dms_replication_subnet_group",
        "replication_subnet_group_id",
        {
            "ReplicationSubnetGroupIdentifier": "replication_subnet_group_id",
            "ReplicationSubnetGroupDescription": "replication_subnet_group_description",
            "SubnetIds": "subnet_ids",
        },
    ),
    "AWS::RDS::DBSubnetGroup": _plain(
        "aws_db_subnet_group",
        "name",
        {"DBSubnetGroupName": "name", "DBSubnetGroupDescription": "description", "SubnetIds": "subnet_ids"},
    ),
    "AWS::RDS::DBParameterGroup": _parameters,
    "AWS::RDS::DBInstance": _database,
    "AWS::RDS::DBProxy": _proxy,
    "AWS::RDS::DBProxyTargetGroup": _proxy_targets,
}

# the argument that tells resources of one type apart, by Terraform's type; of roles' policies there are two
IDENTITIES = {
    "aws_api_gateway_base_path_mapping": ("domain_name",),
    "aws_api_gateway_domain_name": ("domain_name",),
    "aws_api_gateway_usage_plan": ("name",),
    "aws_kinesis_stream": ("name",),
    "aws_kms_alias": ("name",),
    "aws_sns_topic": ("name",),
    "aws_sns_topic_subscription": ("endpoint",),
    "aws_sns_topic_policy": ("arn",),
    "aws_sqs_queue": ("name",),
    "aws_sqs_queue_policy": ("queue_url",),
    "aws_secretsmanager_secret": ("name",),
    "aws_cloudwatch_log_group": ("name",),
    "aws_sfn_state_machine": ("name",),
    "aws_lambda_event_source_mapping": ("event_source_arn",),
    "aws_iam_role": ("name",),
    "aws_iam_role_policy": ("role", "name"),
    "aws_iam_role_policy_attachment": ("role", "policy_arn"),
    "aws_scheduler_schedule_group": ("name",),
    "aws_scheduler_schedule": ("name",),
    "aws_cloudwatch_metric_alarm": ("alarm_name",),
    "aws_cloudwatch_dashboard": ("dashboard_name",),
    "aws_security_group": ("description",),
    "aws_vpc_security_group_ingress_rule": ("security_group_id", "description"),
    "aws_vpc_security_group_egress_rule": ("security_group_id", "description"),
    "aws_db_subnet_group": ("name",),
    "aws_db_instance": ("identifier",),
    "aws_db_proxy": ("name",),
    "aws_dms_endpoint": ("endpoint_id",),
    "aws_dms_replication_config": ("replication_config_identifier",),
    "aws_dms_replication_subnet_group": ("replication_subnet_group_id",),
    "aws_ecr_repository": ("name",),
    "aws_ecs_cluster": ("name",),
    "aws_ecs_task_definition": ("family",),
    **{
        f"aws_s3_bucket{part}": ("bucket",)
        for part in (
            "",
            "_ownership_controls",
            "_public_access_block",
            "_versioning",
            "_server_side_encryption_configuration",
            "_lifecycle_configuration",
            "_notification",
        )
    },
}


def identity(kind: str, arguments: dict) -> str:
    return "/".join(str(arguments[name]) for name in IDENTITIES.get(kind, ()))
