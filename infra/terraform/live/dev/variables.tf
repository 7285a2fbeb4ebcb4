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

variable "sftp_users" {
  type    = map(list(string))
  default = {}
}

variable "alarm_subscribers" {
  type    = map(list(string))
  default = {}
}

variable "runbooks" {
  type    = string
  default = "https://interlock.example/docs/operations/alarms"
}
