resource "aws_sns_topic" "alerts" {
  name              = "${local.prefix}-alerts"
  kms_master_key_id = aws_kms_key.data.arn
  tags              = local.tags
}

resource "aws_sns_topic_subscription" "email" {
  for_each = local.alert_emails

  topic_arn = aws_sns_topic.alerts.arn
  protocol  = "email"
  endpoint  = each.value
}

resource "aws_sqs_queue" "dead_letters" {
  name                      = "${local.prefix}-dead-letters"
  kms_master_key_id         = aws_kms_key.data.arn
  message_retention_seconds = 1209600
  tags                      = local.tags
}

# what starts runs: schedules, the inbox, and whoever sends a message
resource "aws_sqs_queue" "triggers" {
  name                       = "${local.prefix}-triggers"
  kms_master_key_id          = aws_kms_key.data.arn
  message_retention_seconds  = 345600
  visibility_timeout_seconds = 360
  redrive_policy             = jsonencode({ deadLetterTargetArn = aws_sqs_queue.undelivered.arn, maxReceiveCount = 5 })
  tags                       = local.tags
}

# messages that no run was started for
resource "aws_sqs_queue" "undelivered" {
  name                      = "${local.prefix}-undelivered"
  kms_master_key_id         = aws_kms_key.data.arn
  message_retention_seconds = 1209600
  tags                      = local.tags
}

resource "aws_lambda_event_source_mapping" "triggers" {
  function_name           = aws_lambda_function.this["start_run"].arn
  event_source_arn        = aws_sqs_queue.triggers.arn
  batch_size              = 10
  function_response_types = ["ReportBatchItemFailures"]

  scaling_config {
    maximum_concurrency = 5
  }
}

# who may publish: the state machine's role by its own policy, alarms by this one
data "aws_iam_policy_document" "alerts" {
  statement {
    sid       = "AlarmsPublish"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alerts.arn]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }

  statement {
    sid       = "OnlyOverTls"
    effect    = "Deny"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alerts.arn]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_sns_topic_policy" "alerts" {
  arn    = aws_sns_topic.alerts.arn
  policy = data.aws_iam_policy_document.alerts.json
}

data "aws_iam_policy_document" "dead_letters" {
  statement {
    sid       = "OnlyOverTls"
    effect    = "Deny"
    actions   = ["sqs:*"]
    resources = [aws_sqs_queue.dead_letters.arn]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_sqs_queue_policy" "dead_letters" {
  queue_url = aws_sqs_queue.dead_letters.url
  policy    = data.aws_iam_policy_document.dead_letters.json
}

data "aws_iam_policy_document" "triggers" {
  statement {
    sid       = "InboxTells"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.triggers.arn]

    principals {
      type        = "Service"
      identifiers = ["s3.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = ["arn:${local.partition}:s3:::${local.bucket}"]
    }
  }

  statement {
    sid       = "OnlyOverTls"
    effect    = "Deny"
    actions   = ["sqs:*"]
    resources = [aws_sqs_queue.triggers.arn]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_sqs_queue_policy" "triggers" {
  queue_url = aws_sqs_queue.triggers.url
  policy    = data.aws_iam_policy_document.triggers.json
}

data "aws_iam_policy_document" "undelivered" {
  statement {
    sid       = "OnlyOverTls"
    effect    = "Deny"
    actions   = ["sqs:*"]
    resources = [aws_sqs_queue.undelivered.arn]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_sqs_queue_policy" "undelivered" {
  queue_url = aws_sqs_queue.undelivered.url
  policy    = data.aws_iam_policy_document.undelivered.json
}

# what webhooks brought, to be collected: one run for the events of a minute
resource "aws_sqs_queue" "webhook_events" {
  name                       = "${local.prefix}-webhook-events"
  kms_master_key_id          = aws_kms_key.data.arn
  message_retention_seconds  = 345600
  visibility_timeout_seconds = 780
  redrive_policy             = jsonencode({ deadLetterTargetArn = aws_sqs_queue.undelivered.arn, maxReceiveCount = 5 })
  tags                       = local.tags
}

resource "aws_lambda_event_source_mapping" "webhook_events" {
  function_name                      = aws_lambda_function.this["collect_events"].arn
  event_source_arn                   = aws_sqs_queue.webhook_events.arn
  batch_size                         = 1000
  maximum_batching_window_in_seconds = 60
  function_response_types            = ["ReportBatchItemFailures"]

  scaling_config {
    maximum_concurrency = 2
  }
}

data "aws_iam_policy_document" "webhook_events" {
  statement {
    sid       = "WebhooksTell"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.webhook_events.arn]

    principals {
      type        = "Service"
      identifiers = ["s3.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = ["arn:${local.partition}:s3:::${local.bucket}"]
    }
  }

  statement {
    sid       = "OnlyOverTls"
    effect    = "Deny"
    actions   = ["sqs:*"]
    resources = [aws_sqs_queue.webhook_events.arn]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_sqs_queue_policy" "webhook_events" {
  queue_url = aws_sqs_queue.webhook_events.url
  policy    = data.aws_iam_policy_document.webhook_events.json
}
