output "state_machine_arn" {
  description = "What a run is started with."
  value       = aws_sfn_state_machine.pipeline.arn
}

output "change_stream_arn" {
  description = "Where DMS writes the changes of databases; null where the stage takes none."
  value       = one(aws_kinesis_stream.changes[*].arn)
}

output "replication_arn" {
  description = "What `aws dms start-replication` takes; null without a replication."
  value       = one(aws_dms_replication_config.changes[*].arn)
}

output "bucket" {
  description = "The lake: raw/, runs/ and inbox/."
  value       = aws_s3_bucket.lake.bucket
}

output "alerts_topic_arn" {
  description = "Where the emails come from; further subscriptions go here."
  value       = aws_sns_topic.alerts.arn
}

output "dead_letter_url" {
  description = "Inputs of runs that failed."
  value       = aws_sqs_queue.dead_letters.url
}

output "triggers_url" {
  description = "Where a message starts a run."
  value       = aws_sqs_queue.triggers.url
}

output "undelivered_url" {
  description = "Messages that no run was started for."
  value       = aws_sqs_queue.undelivered.url
}

output "database_secret_arn" {
  description = "The secret that must hold the database's URL before the first run."
  value       = local.database_secret_arn
}

output "tokens_secret_arn" {
  description = "The secret for the sources' tokens."
  value       = aws_secretsmanager_secret.tokens.arn
}

output "function_names" {
  description = "The Lambda functions by state, as `sluice` and the console call them."
  value       = { for name, made in aws_lambda_function.this : name => made.function_name }
}

output "api_url" {
  description = "Where requests to the API are sent."
  value       = local.deployment.api_domain == "" ? aws_api_gateway_stage.api.invoke_url : "https://${local.deployment.api_domain}"
}

output "api_domain_target" {
  description = "What a CNAME record of the API's domain leads to; null without one."
  value       = one(aws_api_gateway_domain_name.api[*].regional_domain_name)
}

output "api_domain_zone" {
  description = "The hosted zone of api_domain_target, for an alias record of Route 53; null without one."
  value       = one(aws_api_gateway_domain_name.api[*].regional_zone_id)
}

output "api_usage_plan_id" {
  description = "What `aws apigateway create-usage-plan-key` gives a key to; null without a quota."
  value       = one(aws_api_gateway_usage_plan.api[*].id)
}
