terraform {
  # 1.11 brought arguments that are not kept in the state (password_wo); locking in S3 itself (use_lockfile) is of 1.10
  required_version = ">= 1.11, < 2.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.0"
    }
  }
}
