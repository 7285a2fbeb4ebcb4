variable "name" {
  description = "Of the installation: before the name of everything."
  type        = string
}

variable "base_url" {
  description = "How merchants reach the API: issuer of its tokens."
  type        = string
}

variable "architecture" {
  type    = string
  default = "arm64"
}

variable "cidr" { type = string }
variable "zones" { type = number }
variable "log_days" { type = number }
variable "backup_days" { type = number }
variable "log_level" { type = string }
variable "deletion_protection" { type = bool }
variable "archive_lock_days" { type = number }

variable "takes_over" {
  description = "Name of the installation in another region whose copies of table, keys and secrets this one works on; empty: its own."
  type        = string
}

variable "active" {
  description = "False: everything is there and nothing runs. Of two regions with one table's replicas, one may be active."
  type        = bool
}

variable "replica_regions" {
  description = "Where the table, the secrets and the backups have copies, and, in the first of them, the files."
  type        = list(string)
}


variable "domain" {
  description = "As modules/api wants it: the API's own name, or null."
  type        = object({ name = string, zone_id = string, has_edge = bool, leads_here = bool })
}

variable "throttle" { type = object({ rate = number, burst = number }) }

variable "canary" {
  description = "A deployment configuration of CodeDeploy for Lambda."
  type        = string
}

variable "kafka" {
  type = object({ bootstrap_servers = string, login = string, token_url = string, logical_cluster = string, identity_pool = string, private_service = string })
}

variable "documents" {
  type = object({ instances = number, instance_class = string, backup_days = number })
}

variable "providers_settings" {
  description = "The payment providers, in the order in which they are tried."
  type        = list(object({ name = string, kind = string, base_url = string }))
}

variable "provider_secrets" {
  description = "Names of the providers' secrets, e.g. provider/stripe/api_key."
  type        = list(string)
}

variable "tenants" {
  description = "Whose ledgers are proved and archived each night."
  type        = set(string)
}

variable "sftp_users" { type = map(list(string)) }
variable "sftp_sources" { type = set(string) }
variable "alarm_subscribers" { type = map(list(string)) }

variable "runbooks" {
  description = "Where the pages of docs/operations/alarms are read."
  type        = string
}
