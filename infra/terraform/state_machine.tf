resource "aws_cloudwatch_log_group" "state_machine" {
  # Step Functions' logs are delivered for it; the prefix keeps their resource policy short
  name              = "/aws/vendedlogs/states/${local.prefix}"
  retention_in_days = try(local.stage.log_retention_in_days, local.config.log_retention_in_days)
  tags              = local.tags
}

data "aws_iam_policy_document" "states" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["states.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      # the second: executions of the distributed Map
      values = [local.state_machine_arn, "${local.state_machine_arn}/*"]
    }
  }
}

resource "aws_iam_role" "state_machine" {
  name               = "${local.prefix}-state-machine"
  description        = "Role of the state machine ${local.prefix}"
  assume_role_policy = data.aws_iam_policy_document.states.json
  tags               = local.tags
}

resource "aws_iam_role_policy" "state_machine" {
  name   = "state_machine"
  role   = aws_iam_role.state_machine.name
  policy = templatefile("${local.policies}/state_machine.json", local.names)
}

resource "aws_sfn_state_machine" "pipeline" {
  name       = local.prefix
  role_arn   = aws_iam_role.state_machine.arn
  type       = "STANDARD"
  definition = templatefile("${local.project}/statemachine/pipeline.asl.json", local.names)
  tags       = local.tags

  logging_configuration {
    level                  = "ALL"
    include_execution_data = var.log_execution_data
    log_destination        = "${aws_cloudwatch_log_group.state_machine.arn}:*"
  }

  tracing_configuration {
    enabled = true
  }

  # AWS tries the role's rights to log when the machine is made
  depends_on = [aws_iam_role_policy.state_machine, aws_lambda_function.this]
}
