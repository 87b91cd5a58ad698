# AWS DMS Serverless, which writes a PostgreSQL's changes into the stream: only where `replication` asks for it.

data "aws_iam_policy_document" "replication_secret" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["dms.${local.region}.${data.aws_partition.current.dns_suffix}"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

resource "aws_iam_role" "replication_secret" {
  count = local.replicates

  name               = "${local.prefix}-replication-secret"
  description        = "Replication of ${local.prefix}: reads the secret of its database"
  assume_role_policy = data.aws_iam_policy_document.replication_secret.json
  tags               = local.tags
}

resource "aws_iam_role_policy" "replication_secret" {
  count = local.replicates

  name   = "replication_secret"
  role   = aws_iam_role.replication_secret[0].name
  policy = templatefile("${local.policies}/replication_secret.json", local.names)
}

data "aws_iam_policy_document" "replication_stream" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["dms.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

resource "aws_iam_role" "replication_stream" {
  count = local.replicates

  name               = "${local.prefix}-replication-stream"
  description        = "Replication of ${local.prefix}: writes into the stream of changes"
  assume_role_policy = data.aws_iam_policy_document.replication_stream.json
  tags               = local.tags
}

resource "aws_iam_role_policy" "replication_stream" {
  count = local.replicates

  name   = "replication_stream"
  role   = aws_iam_role.replication_stream[0].name
  policy = templatefile("${local.policies}/replication_stream.json", local.names)
}

resource "aws_dms_replication_subnet_group" "changes" {
  count = local.replicates

  replication_subnet_group_id          = "${local.prefix}-changes"
  replication_subnet_group_description = "Replication of ${local.prefix}"
  subnet_ids                           = local.subnet_ids
  tags                                 = local.tags

  lifecycle {
    precondition {
      condition     = local.deployment.changes
      error_message = "A replication needs the stream: `deployment.changes` of the stage in .chalice/config.json."
    }
  }
}

resource "aws_dms_endpoint" "source" {
  count = local.replicates

  endpoint_id                     = "${local.prefix}-changes-source"
  endpoint_type                   = "source"
  engine_name                     = "postgres"
  database_name                   = var.replication.database
  ssl_mode                        = "require"
  kms_key_arn                     = aws_kms_key.data.arn
  secrets_manager_arn             = var.replication.secret_arn
  secrets_manager_access_role_arn = aws_iam_role.replication_secret[0].arn
  tags                            = local.tags

  postgres_settings {
    map_boolean_as_boolean       = true
    fail_tasks_on_lob_truncation = true
  }

  depends_on = [aws_iam_role_policy.replication_secret]
}

resource "aws_dms_endpoint" "target" {
  count = local.replicates

  endpoint_id   = "${local.prefix}-changes-target"
  endpoint_type = "target"
  engine_name   = "kinesis"
  kms_key_arn   = aws_kms_key.data.arn
  tags          = local.tags

  kinesis_settings {
    stream_arn                     = one(aws_kinesis_stream.changes[*].arn)
    service_access_role_arn        = aws_iam_role.replication_stream[0].arn
    message_format                 = "json"
    include_control_details        = true
    include_null_and_empty         = true
    include_partition_value        = true
    include_table_alter_operations = true
    include_transaction_details    = true
    partition_include_schema_table = true
    # CloudFormation has no such property
    use_large_integer_value = true
  }

  depends_on = [aws_iam_role_policy.replication_stream]
}

# `aws dms start-replication` starts it: a source wants to be looked at before all of it is read
resource "aws_dms_replication_config" "changes" {
  count = local.replicates

  replication_config_identifier = "${local.prefix}-changes"
  replication_type              = "full-load-and-cdc"
  source_endpoint_arn           = aws_dms_endpoint.source[0].endpoint_arn
  target_endpoint_arn           = aws_dms_endpoint.target[0].endpoint_arn
  table_mappings                = var.replication.table_mappings
  tags                          = local.tags

  replication_settings = jsonencode({
    BeforeImageSettings = { EnableBeforeImage = true, FieldName = "before-image", ColumnFilter = "pk-only" }
    TargetMetadata      = { SupportLobs = true, FullLobMode = false, LimitedSizeLobMode = true, LobMaxSize = 64 }
    Logging             = { EnableLogging = true }
  })

  compute_config {
    replication_subnet_group_id = aws_dms_replication_subnet_group.changes[0].id
    vpc_security_group_ids      = var.replication.security_group_ids
    kms_key_id                  = aws_kms_key.data.arn
    min_capacity_units          = 1
    max_capacity_units          = var.replication.capacity
    multi_az                    = false
  }
}
