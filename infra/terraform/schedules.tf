# A schedule for each source that declares one, with its time zone.

resource "aws_scheduler_schedule_group" "pipeline" {
  name = local.prefix
  tags = local.tags
}

data "aws_iam_policy_document" "scheduler" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["scheduler.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceArn"
      values   = ["arn:${local.partition}:scheduler:${local.region}:${local.account}:schedule-group/${local.prefix}"]
    }
  }
}

resource "aws_iam_role" "scheduler" {
  name               = "${local.prefix}-scheduler"
  description        = "Role of the schedules of ${local.prefix}"
  assume_role_policy = data.aws_iam_policy_document.scheduler.json
  tags               = local.tags
}

resource "aws_iam_role_policy" "scheduler" {
  name   = "scheduler"
  role   = aws_iam_role.scheduler.name
  policy = templatefile("${local.policies}/scheduler.json", local.names)
}

resource "aws_scheduler_schedule" "source" {
  for_each = { for name, schedule in local.generated.schedules : name => schedule if try(local.conditions[schedule.Condition], true) }

  name                         = each.value.Name
  group_name                   = aws_scheduler_schedule_group.pipeline.name
  description                  = try(each.value.Description, null)
  schedule_expression          = each.value.ScheduleExpression
  schedule_expression_timezone = each.value.ScheduleExpressionTimezone
  state                        = each.value.State

  flexible_time_window {
    mode                      = each.value.FlexibleTimeWindow.Mode
    maximum_window_in_minutes = try(each.value.FlexibleTimeWindow.MaximumWindowInMinutes, null)
  }

  target {
    arn      = each.value.Target.Arn
    role_arn = each.value.Target.RoleArn
    input    = each.value.Target.Input

    retry_policy {
      maximum_event_age_in_seconds = each.value.Target.RetryPolicy.MaximumEventAgeInSeconds
      maximum_retry_attempts       = each.value.Target.RetryPolicy.MaximumRetryAttempts
    }

    dead_letter_config {
      arn = each.value.Target.DeadLetterConfig.Arn
    }
  }

  # the first one may be due before its role may do anything
  depends_on = [aws_iam_role_policy.scheduler, aws_sqs_queue.triggers, aws_sqs_queue.undelivered]
}
