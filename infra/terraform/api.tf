# The REST API, from the document that `sluice build` had Chalice make of the routes.

resource "aws_api_gateway_rest_api" "api" {
  name = local.prefix
  body = jsonencode(local.generated.api)
  tags = local.tags
}

resource "aws_api_gateway_deployment" "api" {
  rest_api_id = aws_api_gateway_rest_api.api.id
  triggers    = { body = jsonencode(local.generated.api) }

  lifecycle {
    create_before_destroy = true
  }
}

# API Gateway writes it by a role of the whole account and region, which has to be set before: see docs/deploying.md
resource "aws_cloudwatch_log_group" "api" {
  count = local.deployment.access_log ? 1 : 0

  name              = "/aws/apigateway/${local.prefix}"
  retention_in_days = try(local.stage.log_retention_in_days, local.config.log_retention_in_days)
  tags              = local.tags
}

resource "aws_api_gateway_stage" "api" {
  rest_api_id          = aws_api_gateway_rest_api.api.id
  deployment_id        = aws_api_gateway_deployment.api.id
  stage_name           = "api"
  xray_tracing_enabled = local.config.xray
  tags                 = local.tags

  dynamic "access_log_settings" {
    for_each = aws_cloudwatch_log_group.api[*].arn

    content {
      destination_arn = access_log_settings.value
      format          = local.generated.api_log_format
    }
  }
}

resource "aws_api_gateway_method_settings" "all" {
  rest_api_id = aws_api_gateway_rest_api.api.id
  stage_name  = aws_api_gateway_stage.api.stage_name
  method_path = "*/*"

  settings {
    throttling_rate_limit  = local.deployment.api_rate
    throttling_burst_limit = local.deployment.api_burst
  }
}

resource "aws_lambda_permission" "api" {
  for_each = toset(["api_handler", "authorize"])

  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.this[each.key].function_name
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_api_gateway_rest_api.api.execution_arn}/*"
}

# The record in the domain's zone is not made here: see docs/serving.md
resource "aws_api_gateway_domain_name" "api" {
  count = local.deployment.api_domain == "" ? 0 : 1

  domain_name              = local.deployment.api_domain
  regional_certificate_arn = local.deployment.api_certificate_arn
  security_policy          = "TLS_1_2"
  tags                     = local.tags

  endpoint_configuration {
    types = ["REGIONAL"]
  }
}

resource "aws_api_gateway_base_path_mapping" "api" {
  count = local.deployment.api_domain == "" ? 0 : 1

  domain_name = aws_api_gateway_domain_name.api[0].domain_name
  api_id      = aws_api_gateway_rest_api.api.id
  stage_name  = aws_api_gateway_stage.api.stage_name
}

# Whether routes ask for a key is in the document of the API, which `sluice build` writes
resource "aws_api_gateway_usage_plan" "api" {
  count = local.deployment.api_quota == 0 ? 0 : 1

  name        = local.prefix
  description = "What each API key may ask for"
  tags        = local.tags

  api_stages {
    api_id = aws_api_gateway_rest_api.api.id
    stage  = aws_api_gateway_stage.api.stage_name
  }

  quota_settings {
    limit  = local.deployment.api_quota
    period = "DAY"
  }

  throttle_settings {
    rate_limit  = local.deployment.api_rate
    burst_limit = local.deployment.api_burst
  }
}
