variable "stage" {
  description = "The stage in .chalice/config.json."
  type        = string
}

variable "region" {
  description = "The AWS region."
  type        = string
  default     = "eu-west-1"
}

variable "alert_emails" {
  description = "Who gets the alerts; null for those of the stage."
  type        = set(string)
  default     = null
}
