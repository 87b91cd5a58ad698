# One pipeline of one stage: copy this folder, or call the module from a root of your own.
#
#   sluice build --stage prod
#   terraform -chdir=infra/terraform/examples/pipeline init -backend-config=prod.s3.tfbackend
#   terraform -chdir=infra/terraform/examples/pipeline apply -var stage=prod

terraform {
  required_version = ">= 1.11, < 2.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.0"
    }
  }

  # The bucket is made by hand, once, versioned and private; prod.s3.tfbackend.example names it.
  # use_lockfile locks the state by an object beside it. Terraform before 1.10 knows only dynamodb_table, a table whose
  # key is LockID; it is deprecated.
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }
}

provider "aws" {
  region = var.region

  default_tags {
    tags = { app = "sluice" }
  }
}

module "pipeline" {
  source = "../.."

  stage        = var.stage
  artefacts    = "${path.module}/../../../../build/${var.stage}"
  alert_emails = var.alert_emails
}
