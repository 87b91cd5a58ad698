# Chunks and partitions that a Lambda does not hold, on ECS Fargate: only where `containers` asks for them.

resource "aws_ecr_repository" "containers" {
  count = local.runs_containers

  name                 = local.prefix
  image_tag_mutability = "IMMUTABLE"
  force_delete         = true
  tags                 = local.tags

  image_scanning_configuration {
    scan_on_push = true
  }
}

resource "aws_ecs_cluster" "containers" {
  count = local.runs_containers

  name = local.prefix
  tags = local.tags

  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

resource "aws_cloudwatch_log_group" "containers" {
  count = local.runs_containers

  name              = "/ecs/${local.prefix}-stages"
  retention_in_days = try(local.stage.log_retention_in_days, local.config.log_retention_in_days)
  tags              = local.tags
}

data "aws_iam_policy_document" "containers" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

resource "aws_iam_role" "container" {
  count = local.runs_containers

  name               = "${local.prefix}-container"
  description        = "What runs in containers of ${local.prefix}"
  assume_role_policy = data.aws_iam_policy_document.containers.json
  tags               = local.tags
}

resource "aws_iam_role_policy" "container" {
  count = local.runs_containers

  name   = "container"
  role   = aws_iam_role.container[0].name
  policy = templatefile("${local.policies}/container.json", local.names)
}

# a partition that is fetched in a container may lie in another bucket, as one that a Lambda fetches
resource "aws_iam_role_policy" "container_read_bucket" {
  for_each = { for bucket in local.deployment.read_buckets : bucket => bucket if local.runs_containers > 0 }

  name = "read-${each.value}"
  role = aws_iam_role.container[0].name
  policy = templatefile(
    "${local.policies}/read_bucket.json",
    merge(local.names, { ReadBucketArn = "arn:${local.partition}:s3:::${each.value}" }),
  )
}

resource "aws_iam_role" "container_execution" {
  count = local.runs_containers

  name               = "${local.prefix}-container-execution"
  description        = "Starts containers of ${local.prefix}: their image and their log"
  assume_role_policy = data.aws_iam_policy_document.containers.json
  tags               = local.tags
}

resource "aws_iam_role_policy" "container_execution" {
  count = local.runs_containers

  name   = "container_execution"
  role   = aws_iam_role.container_execution[0].name
  policy = templatefile("${local.policies}/container_execution.json", local.names)
}

resource "aws_iam_role_policy" "run_containers" {
  count = local.runs_containers

  name   = "run_containers"
  role   = aws_iam_role.state_machine.name
  policy = templatefile("${local.policies}/run_containers.json", local.names)
}

resource "aws_ecs_task_definition" "stages" {
  count = local.runs_containers

  family                   = "${local.prefix}-stages"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.containers.cpu
  memory                   = var.containers.memory
  execution_role_arn       = aws_iam_role.container_execution[0].arn
  task_role_arn            = aws_iam_role.container[0].arn
  tags                     = local.tags

  runtime_platform {
    cpu_architecture        = "X86_64"
    operating_system_family = "LINUX"
  }

  volume {
    name = "tmp"
  }

  container_definitions = jsonencode([
    {
      name                   = "stages"
      image                  = "${local.account}.dkr.ecr.${local.region}.${data.aws_partition.current.dns_suffix}/${local.prefix}:${var.containers.image_tag}"
      essential              = true
      readonlyRootFilesystem = true
      mountPoints            = [{ sourceVolume = "tmp", containerPath = "/tmp", readOnly = false }]
      logConfiguration = {
        logDriver = "awslogs"
        options = {
          "awslogs-group"         = "/ecs/${local.prefix}-stages"
          "awslogs-region"        = local.region
          "awslogs-stream-prefix" = "stages"
        }
      }
      environment = [
        for name, value in merge(try(local.config.environment_variables, {}), try(local.stage.environment_variables, {}), local.environment) :
        { name = name, value = tostring(value) }
      ]
    }
  ])

  depends_on = [aws_cloudwatch_log_group.containers]
}
