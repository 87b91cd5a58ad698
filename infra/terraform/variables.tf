variable "stage" {
  description = "The stage: a key of `stages` in .chalice/config.json, which says everything that is not said here."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{0,15}$", var.stage)) && var.stage != "local"
    error_message = "A stage has at most 16 small letters and digits, a letter first, and is not `local`."
  }
}

variable "artefacts" {
  description = "The folder that `sluice build --stage STAGE` wrote: build/STAGE."
  type        = string
  nullable    = false

  validation {
    condition     = fileexists("${var.artefacts}/artefacts.json") && fileexists("${var.artefacts}/terraform.json")
    error_message = "There is no artefacts.json and terraform.json in that folder; run `sluice build --stage STAGE` first."
  }
}

variable "prefix" {
  description = "What all names begin with; null for `<app>-<stage>`. Another one makes another pipeline."
  type        = string
  default     = null

  validation {
    condition     = var.prefix == null || can(regex("^[a-z][a-z0-9-]{0,30}[a-z0-9]$", coalesce(var.prefix, "-")))
    error_message = "A prefix has 2 to 32 small letters, digits and hyphens, a letter first and no hyphen last."
  }
}

variable "alert_emails" {
  description = "Who gets the alerts; null for `deployment.alert_emails` of the stage. Each address must confirm its subscription."
  type        = set(string)
  default     = null

  validation {
    condition     = alltrue([for address in coalesce(var.alert_emails, []) : can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", address))])
    error_message = "An alert goes to an email address such as data@example.com."
  }
}

variable "database_secret_arn" {
  description = "The secret with the database's URL or RDS's JSON; null for `deployment.database_secret_arn` of the stage, and where that is empty too, for a secret that is made here and filled by hand. It must be known before anything is made: whether there is one decides what is."
  type        = string
  default     = null

  validation {
    condition     = var.database_secret_arn == null || can(regex("^arn:[a-z-]+:secretsmanager:", coalesce(var.database_secret_arn, "-")))
    error_message = "A secret is named by its whole ARN."
  }
}

variable "subnet_ids" {
  description = "Private subnets for the functions; null for those of the stage, if any. They need a way to Secrets Manager, S3, Step Functions, Bedrock (if texts are embedded) and the sources: a NAT gateway, or VPC endpoints for the AWS services."
  type        = list(string)
  default     = null
}

variable "security_group_ids" {
  description = "Security groups of the functions, where they have subnets; null for those of the stage."
  type        = list(string)
  default     = null

  validation {
    condition     = (var.security_group_ids != null) == (var.subnet_ids != null && var.database == null)
    error_message = "Subnets and security groups belong together, unless a database is made, which brings the group."
  }
}

variable "database" {
  description = "An RDS PostgreSQL to be made in subnet_ids, and a proxy before it; null for a database of your own. A version of one number leaves the rest to AWS, which raises it in its maintenance window."
  default     = null

  type = object({
    vpc_id         = string
    version        = optional(string, "17")
    instance_class = optional(string, "db.t4g.medium")
    gigabytes      = optional(number, 50)
    multi_zone     = optional(bool, true)
    proxy          = optional(bool, false)
  })

  validation {
    condition     = var.database == null || (length(coalesce(var.subnet_ids, [])) > 1 && var.database_secret_arn == null)
    error_message = "A database needs subnet_ids in two zones, and makes the secret: leave database_secret_arn out."
  }
}

variable "containers" {
  description = "What sources with runs_on or fetches_on = container need: a repository for the image, a cluster and a task on Fargate in subnet_ids; null for none. CPU in units of 1,024 to a core, memory in MB. Tags cannot be pushed twice: raise it with every push."
  default     = null

  type = object({
    cpu       = optional(string, "2048")
    memory    = optional(number, 8192)
    image_tag = optional(string, "1")
  })

  validation {
    condition     = var.containers == null || length(coalesce(var.subnet_ids, [])) > 0
    error_message = "Containers need subnet_ids."
  }
}

variable "replication" {
  description = "AWS DMS Serverless, which writes the changes of a PostgreSQL into the stream that `deployment.changes` makes, in subnet_ids; null for none. The secret is JSON with host, port, username and password; table_mappings are DMS's, JSON. It runs once `aws dms start-replication` starts it."
  default     = null

  type = object({
    secret_arn         = string
    database           = string
    security_group_ids = list(string)
    table_mappings     = string
    capacity           = optional(number, 2)
  })

  validation {
    condition     = var.replication == null || length(coalesce(var.subnet_ids, [])) > 1
    error_message = "A replication needs subnet_ids in two zones."
  }

  validation {
    condition     = var.replication == null || can(regex("^arn:[a-z-]+:secretsmanager:", var.replication.secret_arn))
    error_message = "The secret of a replication is named by its whole ARN."
  }

  validation {
    condition     = var.replication == null || try(length(jsondecode(var.replication.table_mappings).rules) > 0, false)
    error_message = "Table mappings are JSON with a list `rules` that has some."
  }
}

variable "database_host" {
  description = "Instead of the host in the secret, for an RDS Proxy of your own; null for `deployment.database_host` of the stage."
  type        = string
  default     = null
}

variable "maximum_age_hours" {
  description = "Hours without a run that succeeded after which an alarm tells so: the longest pause between two scheduled runs, and what a run takes."
  type        = number
  default     = 26
  nullable    = false

  validation {
    condition     = var.maximum_age_hours >= 2 && var.maximum_age_hours <= 168
    error_message = "An alarm looks back 2 to 168 hours."
  }
}

variable "log_execution_data" {
  description = "Whether the state machine's log holds what goes in and out of its states: references and counts, and the texts of errors."
  type        = bool
  default     = false
  nullable    = false
}

variable "tags" {
  description = "Tags of all resources, beside `sluice:stage`."
  type        = map(string)
  default     = {}
  nullable    = false
}
