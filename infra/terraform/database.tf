# An RDS PostgreSQL, which brings pgvector, and an RDS Proxy: only where `database` asks for them.

locals {
  makes_database = var.database == null ? 0 : 1
  makes_proxy    = try(var.database.proxy, false) ? 1 : 0

  subnet_ids         = var.subnet_ids != null ? var.subnet_ids : try(local.stage.subnet_ids, local.config.subnet_ids, [])
  security_group_ids = local.makes_database == 1 ? aws_security_group.functions[*].id : var.security_group_ids != null ? var.security_group_ids : try(local.stage.security_group_ids, local.config.security_group_ids, [])

  # instead of the host in the secret
  database_host = try(
    coalesce(var.database_host, local.deployment.database_host),
    aws_db_proxy.database[0].endpoint,
    aws_db_instance.database[0].address,
    "",
  )
}

resource "aws_security_group" "functions" {
  count = local.makes_database

  name        = "${local.prefix}-functions"
  description = "Functions of ${local.prefix}: nothing comes in"
  vpc_id      = var.database.vpc_id
  tags        = local.tags
}

resource "aws_vpc_security_group_egress_rule" "functions_to_aws_and_sources" {
  count = local.makes_database

  description       = "AWS and the sources"
  security_group_id = aws_security_group.functions[0].id
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_vpc_security_group_egress_rule" "functions_to_database" {
  count = local.makes_database

  description                  = "Postgres"
  security_group_id            = aws_security_group.functions[0].id
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
  referenced_security_group_id = aws_security_group.database[0].id
}

resource "aws_security_group" "database" {
  count = local.makes_database

  name        = "${local.prefix}-database"
  description = "Database of ${local.prefix}: its functions and its proxy alone come in"
  vpc_id      = var.database.vpc_id
  tags        = local.tags
}

resource "aws_vpc_security_group_ingress_rule" "database_from_functions" {
  count = local.makes_database

  description                  = "The functions"
  security_group_id            = aws_security_group.database[0].id
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
  referenced_security_group_id = aws_security_group.functions[0].id
}

resource "aws_vpc_security_group_ingress_rule" "database_from_proxy" {
  count = local.makes_proxy

  description                  = "The proxy, which is in this group"
  security_group_id            = aws_security_group.database[0].id
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
  referenced_security_group_id = aws_security_group.database[0].id
}

resource "aws_vpc_security_group_egress_rule" "proxy_to_database" {
  count = local.makes_proxy

  description                  = "The proxy to the database"
  security_group_id            = aws_security_group.database[0].id
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
  referenced_security_group_id = aws_security_group.database[0].id
}

resource "aws_db_subnet_group" "database" {
  count = local.makes_database

  name        = local.prefix
  description = "Database of ${local.prefix}"
  subnet_ids  = local.subnet_ids
  tags        = local.tags
}

resource "aws_db_parameter_group" "database" {
  count = local.makes_database

  name_prefix = "${local.prefix}-"
  description = "Database of ${local.prefix}"
  family      = "postgres${regex("^[0-9]+", var.database.version)}"
  tags        = local.tags

  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }

  parameter {
    name  = "log_statement"
    value = "ddl"
  }

  parameter {
    name  = "log_min_duration_statement"
    value = "10000"
  }

  lifecycle {
    create_before_destroy = true
  }
}

data "aws_iam_policy_document" "monitoring" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["monitoring.rds.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

resource "aws_iam_role" "database_monitoring" {
  count = local.makes_database

  name               = "${local.prefix}-database-monitoring"
  description        = "Enhanced monitoring of the database of ${local.prefix}"
  assume_role_policy = data.aws_iam_policy_document.monitoring.json
  tags               = local.tags
}

resource "aws_iam_role_policy_attachment" "database_monitoring" {
  count = local.makes_database

  role       = aws_iam_role.database_monitoring[0].name
  policy_arn = "arn:${local.partition}:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"
}

# The password goes from Secrets Manager into the secret and from there into the database; it is in no plan and no state.
ephemeral "aws_secretsmanager_random_password" "database" {
  count = local.makes_database

  password_length    = 40
  exclude_characters = "\"@/\\'"
}

resource "aws_secretsmanager_secret_version" "database" {
  count = local.makes_database

  secret_id = aws_secretsmanager_secret.database[0].id

  secret_string_wo = jsonencode({
    username = "sluice"
    password = ephemeral.aws_secretsmanager_random_password.database[0].random_password
    port     = 5432
    dbname   = "sluice"
  })

  # a larger number makes another password
  secret_string_wo_version = 1
}

ephemeral "aws_secretsmanager_secret_version" "database" {
  count = local.makes_database

  secret_id = aws_secretsmanager_secret_version.database[0].secret_id
}

resource "aws_db_instance" "database" {
  count = local.makes_database

  identifier                            = local.prefix
  db_name                               = "sluice"
  engine                                = "postgres"
  engine_version                        = var.database.version
  instance_class                        = var.database.instance_class
  storage_type                          = "gp3"
  allocated_storage                     = var.database.gigabytes
  max_allocated_storage                 = 1000
  storage_encrypted                     = true
  kms_key_id                            = aws_kms_key.data.arn
  username                              = "sluice"
  password_wo                           = jsondecode(ephemeral.aws_secretsmanager_secret_version.database[0].secret_string).password
  password_wo_version                   = aws_secretsmanager_secret_version.database[0].secret_string_wo_version
  iam_database_authentication_enabled   = true
  db_subnet_group_name                  = aws_db_subnet_group.database[0].name
  parameter_group_name                  = aws_db_parameter_group.database[0].name
  vpc_security_group_ids                = [aws_security_group.database[0].id]
  publicly_accessible                   = false
  multi_az                              = var.database.multi_zone
  backup_retention_period               = 14
  copy_tags_to_snapshot                 = true
  deletion_protection                   = true
  delete_automated_backups              = false
  auto_minor_version_upgrade            = true
  monitoring_interval                   = 60
  monitoring_role_arn                   = aws_iam_role.database_monitoring[0].arn
  performance_insights_enabled          = true
  performance_insights_kms_key_id       = aws_kms_key.data.arn
  performance_insights_retention_period = 7
  enabled_cloudwatch_logs_exports       = ["postgresql", "upgrade"]
  skip_final_snapshot                   = false
  final_snapshot_identifier             = "${local.prefix}-final"
  tags                                  = local.tags
}

data "aws_iam_policy_document" "rds" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["rds.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

resource "aws_iam_role" "proxy" {
  count = local.makes_proxy

  name               = "${local.prefix}-proxy"
  description        = "RDS Proxy of ${local.prefix}: reads the database's secret"
  assume_role_policy = data.aws_iam_policy_document.rds.json
  tags               = local.tags
}

data "aws_iam_policy_document" "proxy" {
  count = local.makes_proxy

  statement {
    sid       = "ReadDatabaseSecret"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [aws_secretsmanager_secret.database[0].arn]
  }

  statement {
    sid       = "UseKeyOfSecrets"
    actions   = ["kms:Decrypt"]
    resources = [aws_kms_key.data.arn]

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["secretsmanager.${local.region}.amazonaws.com"]
    }
  }
}

resource "aws_iam_role_policy" "proxy" {
  count = local.makes_proxy

  name   = "proxy"
  role   = aws_iam_role.proxy[0].name
  policy = data.aws_iam_policy_document.proxy[0].json
}

resource "aws_db_proxy" "database" {
  count = local.makes_proxy

  name                   = local.prefix
  engine_family          = "POSTGRESQL"
  require_tls            = true
  role_arn               = aws_iam_role.proxy[0].arn
  vpc_subnet_ids         = local.subnet_ids
  vpc_security_group_ids = [aws_security_group.database[0].id]
  tags                   = local.tags

  auth {
    auth_scheme = "SECRETS"
    iam_auth    = "DISABLED"
    secret_arn  = aws_secretsmanager_secret.database[0].arn
  }

  depends_on = [aws_iam_role_policy.proxy, aws_secretsmanager_secret_version.database]
}

resource "aws_db_proxy_default_target_group" "database" {
  count = local.makes_proxy

  db_proxy_name = aws_db_proxy.database[0].name
}

resource "aws_db_proxy_target" "database" {
  count = local.makes_proxy

  db_proxy_name          = aws_db_proxy.database[0].name
  target_group_name      = aws_db_proxy_default_target_group.database[0].name
  db_instance_identifier = aws_db_instance.database[0].identifier
}
