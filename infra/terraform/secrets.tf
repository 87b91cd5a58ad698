# Their values are put in by hand (`sluice secret database`, `sluice secret token`), never by Terraform, whose state is plain text.

resource "aws_secretsmanager_secret" "database" {
  count = local.given_database_secret == "none" ? 1 : 0

  name        = "${local.secrets}/database"
  description = "The database's URL, or RDS's JSON"
  kms_key_id  = aws_kms_key.data.arn
  tags        = local.tags
}

resource "aws_secretsmanager_secret" "tokens" {
  name        = "${local.secrets}/tokens"
  description = "The sources' tokens by name, one JSON object"
  kms_key_id  = aws_kms_key.data.arn
  tags        = local.tags
}
