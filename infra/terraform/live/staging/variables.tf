# What differs from installation to installation, and is nobody's secret: a terraform.tfvars beside this file.

variable "kafka" {
  type = object({ bootstrap_servers = string, login = string, token_url = string, logical_cluster = string, identity_pool = string, private_service = string })
}

variable "providers_settings" {
  type = list(object({ name = string, kind = string, base_url = string }))
}

variable "provider_secrets" {
  type = list(string)
}

variable "took_over" {
  description = "The standby region took over: production stops, and the standby runs. Say it to production first."
  type        = bool
  default     = false
}

variable "tenants" {
  description = "Whose ledgers are proved and archived each night."
  type        = set(string)
  default     = []
}

variable "sftp_users" {
  type    = map(list(string))
  default = {}
}

variable "sftp_sources" {
  description = "CIDR blocks that the senders of files connect from."
  type        = set(string)
  default     = []
}

variable "domain" {
  description = "The API's own name and its zone in Route 53, as modules/api wants them. Null: CloudFront's name."
  type        = object({ name = string, zone_id = string, has_edge = bool, leads_here = bool })
  default     = null
}

variable "alarm_subscribers" {
  type    = map(list(string))
  default = {}
}

variable "runbooks" {
  type    = string
  default = "https://interlock.example/docs/operations/alarms"
}
