# What the repository says is read from it: limits, policies, the state machine. Nothing of that is repeated here.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  project = abspath("${path.module}/../..")

  config = jsondecode(file("${local.project}/.chalice/config.json"))
  stage  = local.config.stages[var.stage]

  # the function's entry in the stage, the stage, the function's entry at the top level, the top level
  functions = {
    for name, own in local.config.lambda_functions : name => merge(
      { lambda_timeout = 60, lambda_memory_size = 128 },
      { for key, value in local.config : key => value if key != "stages" && key != "lambda_functions" && key != "environment_variables" },
      own,
      { for key, value in local.stage : key => value if key != "lambda_functions" && key != "environment_variables" },
      try(local.stage.lambda_functions[name], {}),
    )
  }

  deployment = merge(
    { alert_emails = [], database_secret_arn = "", database_host = "", bucket = "", runs_days = 90, raw_days = 0, schedules = true, simulate_sensors = false, changes = false, access_log = false, api_domain = "", api_certificate_arn = "", api_rate = 50, api_burst = 100, api_quota = 0, read_buckets = [] },
    try(local.config.deployment, {}),
    try(local.stage.deployment, {}),
  )

  artefacts = jsondecode(file("${var.artefacts}/artefacts.json"))

  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.region

  prefix       = coalesce(var.prefix, "${local.config.app_name}-${var.stage}")
  secrets      = var.prefix == null ? "${local.config.app_name}/${var.stage}" : var.prefix
  bucket       = coalesce(local.deployment.bucket, "${local.prefix}-${local.account}-${local.region}")
  alert_emails = var.alert_emails == null ? toset(local.deployment.alert_emails) : var.alert_emails

  # the ARNs of what refers to each other are put together by name, so that nothing waits in a circle
  state_machine_arn = "arn:${local.partition}:states:${local.region}:${local.account}:stateMachine:${local.prefix}"
  # the function behind all routes of the API is called as Chalice calls it
  function_names = {
    for name in keys(local.functions) : name => name == "api_handler" ? local.prefix : "${local.prefix}-${name}"
  }
  function_arns = {
    for name in keys(local.functions) :
    name => "arn:${local.partition}:lambda:${local.region}:${local.account}:function:${local.function_names[name]}"
  }

  # `sluice secret database` writes the ARN of the secret made here into the stage: that is still the one made here
  configured_database_secret = can(regex(":secret:${local.secrets}/database-", local.deployment.database_secret_arn)) ? "" : local.deployment.database_secret_arn
  given_database_secret      = coalesce(var.database_secret_arn, local.configured_database_secret, "none")
  database_secret_arn        = local.given_database_secret != "none" ? local.given_database_secret : one(aws_secretsmanager_secret.database[*].arn)

  # what deploying adds to the environment that .chalice/config.json gives
  environment = merge(
    {
      SLUICE_STAGE               = var.stage
      SLUICE_BUCKET              = local.bucket
      SLUICE_DATABASE_SECRET_ARN = local.database_secret_arn
      SLUICE_TOKENS_SECRET_ARN   = aws_secretsmanager_secret.tokens.arn
      SLUICE_STATE_MACHINE_ARN   = local.state_machine_arn
      SLUICE_TOPIC_ARN           = aws_sns_topic.alerts.arn
      SLUICE_TRIGGERS_URL        = aws_sqs_queue.triggers.url
      SLUICE_UNDELIVERED_URL     = aws_sqs_queue.undelivered.url
      SLUICE_API_KEYS            = local.deployment.api_quota == 0 ? "off" : "on"
      SLUICE_CONTAINERS          = local.runs_containers == 1 ? "on" : "off"
    },
    local.database_host == "" ? {} : { SLUICE_DATABASE_HOST = local.database_host },
  )

  tags = merge(var.tags, { "sluice:stage" = local.prefix })

  # What terraform.json leaves open: `${Name}`. All of it is known before anything is made, for alarms and schedules are
  # counted by what is in that file.
  known_names = {
    Partition          = local.partition
    Region             = local.region
    Account            = local.account
    Prefix             = local.prefix
    Stage              = var.stage
    AlertsTopicArn     = "arn:${local.partition}:sns:${local.region}:${local.account}:${local.prefix}-alerts"
    DeadLetterArn      = "arn:${local.partition}:sqs:${local.region}:${local.account}:${local.prefix}-dead-letters"
    DeadLetterName     = "${local.prefix}-dead-letters"
    TriggersArn        = "arn:${local.partition}:sqs:${local.region}:${local.account}:${local.prefix}-triggers"
    WebhookEventsArn   = "arn:${local.partition}:sqs:${local.region}:${local.account}:${local.prefix}-webhook-events"
    UndeliveredArn     = "arn:${local.partition}:sqs:${local.region}:${local.account}:${local.prefix}-undelivered"
    UndeliveredName    = "${local.prefix}-undelivered"
    StateMachineArn    = local.state_machine_arn
    SchedulerRoleArn   = "arn:${local.partition}:iam::${local.account}:role/${local.prefix}-scheduler"
    SimulateSensorsArn = local.function_arns["simulate_sensors"]
    DatabaseName       = local.prefix
    MaximumAgeHours    = var.maximum_age_hours
  }

  # what the policies and the state machine leave open
  names = merge(
    local.known_names,
    {
      Bucket                  = local.bucket
      BucketArn               = aws_s3_bucket.lake.arn
      ChangeStreamArn         = "arn:${local.partition}:kinesis:${local.region}:${local.account}:stream/${local.prefix}-changes"
      DatabaseSecretArn       = local.database_secret_arn
      ReplicationSecretArn    = try(var.replication.secret_arn, "none")
      TokensSecretArn         = aws_secretsmanager_secret.tokens.arn
      AlertsTopicArn          = aws_sns_topic.alerts.arn
      DeadLetterArn           = aws_sqs_queue.dead_letters.arn
      DeadLetterUrl           = aws_sqs_queue.dead_letters.url
      TriggersArn             = aws_sqs_queue.triggers.arn
      WebhookEventsArn        = aws_sqs_queue.webhook_events.arn
      UndeliveredArn          = aws_sqs_queue.undelivered.arn
      ContainerCluster        = local.prefix
      ContainerFamily         = "${local.prefix}-stages"
      ContainerSubnets        = local.runs_containers == 1 ? join(",", local.subnet_ids) : "none"
      ContainerSecurityGroups = local.runs_containers == 1 ? join(",", local.security_group_ids) : "none"
      KeyArn                  = aws_kms_key.data.arn
      ExecutionsArn           = "arn:${local.partition}:states:${local.region}:${local.account}:execution:${local.prefix}:*"
      EmbeddingModelArn       = "arn:${local.partition}:bedrock:${local.region}::foundation-model/amazon.titan-embed-text-v2:0"
    },
    # fetch_partition -> FetchPartitionArn
    { for name, arn in local.function_arns : "${replace(title(replace(name, "_", " ")), " ", "")}Arn" => arn },
  )

  runs_containers = var.containers == null ? 0 : 1
  replicates      = var.replication == null ? 0 : 1

  policies = "${local.project}/statemachine/policies"

  # the template's conditions that alarms and schedules have
  conditions = {
    RunsAreScheduled    = local.deployment.schedules
    SensorsAreSimulated = local.deployment.simulate_sensors
    TakesChanges        = local.deployment.changes
    MakesDatabase       = var.database != null
  }

  # alarms, schedules and the dashboard, as `sluice build` wrote them from the CloudFormation template
  generated = jsondecode(templatefile("${var.artefacts}/terraform.json", local.known_names))
}
