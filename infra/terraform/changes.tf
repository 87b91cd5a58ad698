# The stream for the changes of databases, in stages whose `deployment.changes` says so.

resource "aws_kinesis_stream" "changes" {
  count = local.deployment.changes ? 1 : 0

  name             = "${local.prefix}-changes"
  retention_period = 168
  encryption_type  = "KMS"
  kms_key_id       = aws_kms_key.data.arn
  tags             = local.tags

  stream_mode_details {
    stream_mode = "ON_DEMAND"
  }
}

resource "aws_lambda_event_source_mapping" "changes" {
  count = local.deployment.changes ? 1 : 0

  function_name                      = aws_lambda_function.this["apply_changes"].arn
  event_source_arn                   = aws_kinesis_stream.changes[0].arn
  starting_position                  = "TRIM_HORIZON"
  batch_size                         = 1000
  maximum_batching_window_in_seconds = 5
  bisect_batch_on_function_error     = true
  maximum_retry_attempts             = -1 # what is given up is lost: the position moves beyond it
  function_response_types            = ["ReportBatchItemFailures"]

  destination_config {
    on_failure {
      destination_arn = aws_sqs_queue.undelivered.arn
    }
  }
}
