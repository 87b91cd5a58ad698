# One Lambda function per Task state, each with its own role, policy and log group.

# requirements.txt, for the gate requirements-gate.txt, for the API requirements-api.txt; by S3, since a call to Lambda takes 50 MB at most
resource "aws_s3_object" "layer" {
  for_each = toset(["dependencies", "gate", "api"])

  bucket      = aws_s3_bucket.lake.id
  key         = "deployment/layers/${local.artefacts[each.key].file}"
  source      = "${var.artefacts}/${local.artefacts[each.key].file}"
  source_hash = local.artefacts[each.key].sha256
  tags        = local.tags

  depends_on = [
    aws_s3_bucket_versioning.lake,
    aws_s3_bucket_server_side_encryption_configuration.lake,
  ]
}

resource "aws_lambda_layer_version" "layer" {
  for_each = toset(["dependencies", "gate", "api"])

  layer_name               = "${local.prefix}-${each.key}"
  s3_bucket                = aws_s3_object.layer[each.key].bucket
  s3_key                   = aws_s3_object.layer[each.key].key
  s3_object_version        = aws_s3_object.layer[each.key].version_id
  source_code_hash         = local.artefacts[each.key].sha256
  compatible_runtimes      = [local.artefacts.python]
  compatible_architectures = [local.artefacts.architecture]

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_cloudwatch_log_group" "function" {
  for_each = local.functions

  name              = "/aws/lambda/${local.function_names[each.key]}"
  retention_in_days = each.value.log_retention_in_days
  tags              = local.tags
}

data "aws_iam_policy_document" "lambda" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "function" {
  for_each = local.functions

  name               = "${local.prefix}-${each.key}"
  description        = "Role of ${local.prefix}-${each.key}"
  assume_role_policy = data.aws_iam_policy_document.lambda.json
  tags               = local.tags
}

resource "aws_iam_role_policy" "function" {
  for_each = local.functions

  name = each.key
  role = aws_iam_role.function[each.key].name
  policy = templatefile(
    "${local.policies}/${each.key}.json",
    merge(local.names, { LogGroupArn = aws_cloudwatch_log_group.function[each.key].arn }),
  )
}

resource "aws_iam_role_policy" "vpc" {
  for_each = length(local.subnet_ids) > 0 ? local.functions : {}

  name   = "vpc"
  role   = aws_iam_role.function[each.key].name
  policy = templatefile("${local.policies}/vpc.json", local.names)
}

# the source `files` reads other buckets than our own only where the stage names them
resource "aws_iam_role_policy" "read_bucket" {
  for_each = {
    for pair in setproduct(["plan", "fetch_partition"], local.deployment.read_buckets) :
    "${pair[0]}/${pair[1]}" => { function = pair[0], bucket = pair[1] }
  }

  name = "read-${each.value.bucket}"
  role = aws_iam_role.function[each.value.function].name
  policy = templatefile(
    "${local.policies}/read_bucket.json",
    merge(local.names, { ReadBucketArn = "arn:${local.partition}:s3:::${each.value.bucket}" }),
  )
}

resource "aws_lambda_function" "this" {
  for_each = local.functions

  function_name    = local.function_names[each.key]
  role             = aws_iam_role.function[each.key].arn
  handler          = each.key == "api_handler" ? "app.app" : "app.${each.key}"
  runtime          = local.artefacts.python
  architectures    = [local.artefacts.architecture]
  filename         = "${var.artefacts}/${local.artefacts.code.file}"
  source_code_hash = local.artefacts.code.sha256
  timeout          = each.value.lambda_timeout
  memory_size      = each.value.lambda_memory_size
  tags             = local.tags

  layers = concat(
    [aws_lambda_layer_version.layer["dependencies"].arn],
    contains(local.generated.layers.gate, each.key) ? [aws_lambda_layer_version.layer["gate"].arn] : [],
    contains(local.generated.layers.api, each.key) ? [aws_lambda_layer_version.layer["api"].arn] : [],
  )

  environment {
    variables = merge(
      local.config.environment_variables,
      try(local.stage.environment_variables, {}),
      local.environment,
    )
  }

  tracing_config {
    mode = local.config.xray ? "Active" : "PassThrough"
  }

  dynamic "vpc_config" {
    for_each = length(local.subnet_ids) > 0 ? [1] : []

    content {
      subnet_ids         = local.subnet_ids
      security_group_ids = local.security_group_ids
    }
  }

  # a function that runs before it may do anything fails for a reason that is gone a second later
  depends_on = [aws_cloudwatch_log_group.function, aws_iam_role_policy.function, aws_iam_role_policy.vpc]
}
