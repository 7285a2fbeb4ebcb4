variable "name" {
  description = "The folder below src/lambdas."
  type        = string
}

variable "description" {
  description = "The function's function.yaml, decoded."
  type        = any
}

variable "prefix" { type = string }
variable "region" { type = string }
variable "architecture" { type = string }
variable "log_days" { type = number }

variable "archives" {
  description = "The folder `make lambdas` writes."
  type        = string
}

variable "layers" {
  description = "ARNs of the layers with the locked packages: those every function has, and those for arrays."
  type        = object({ dependencies = string, arrays = string })
}

variable "environment" {
  description = "The platform's settings."
  type        = map(string)
}

variable "places" {
  description = "As modules/permissions wants them."
  type        = any
}

variable "network" {
  type = object({ subnets = list(string), security_group = string })
}

variable "kafka" {
  type = object({ bootstrap_servers = string, prefix = string, mapping_secret = string })
}

variable "deployment" {
  type = object({ app = string, config = string, role = string })
}

variable "active" {
  description = "False: it is there, and nothing calls it."
  type        = bool
}
