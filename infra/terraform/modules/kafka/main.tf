# What AWS needs to know of a Kafka cluster that somebody else runs (Confluent Cloud): how to reach it, and the login of the event
# source mapping. Topics are made there, by their own provider or by hand: docs/operations/deploy.md says which.

variable "prefix" { type = string }
variable "bootstrap_servers" { type = string }
variable "key_arn" { type = string }

variable "private_service" {
  description = "Name of the cluster's PrivateLink endpoint service; empty: it is reached over the network's way out."
  type        = string
}

variable "network" {
  type = object({ vpc = string, subnets = list(string), security_group = string })
}

# The platform's login, and the same as Lambda's mapping wants it: { username, password }. Each region has a cluster and logins of its own.
resource "aws_secretsmanager_secret" "login" {
  name                    = "${var.prefix}kafka/login"
  kms_key_id              = var.key_arn
  recovery_window_in_days = 30
}

resource "aws_secretsmanager_secret" "mapping" {
  name                    = "${var.prefix}kafka-mapping"
  kms_key_id              = var.key_arn
  recovery_window_in_days = 30
}

resource "aws_vpc_endpoint" "cluster" {
  count              = var.private_service == "" ? 0 : 1
  vpc_id             = var.network.vpc
  service_name       = var.private_service
  vpc_endpoint_type  = "Interface"
  subnet_ids         = var.network.subnets
  security_group_ids = [var.network.security_group]
}

output "settings" {
  value = { bootstrap_servers = var.bootstrap_servers, prefix = "interlock.", mapping_secret = aws_secretsmanager_secret.mapping.arn }
}

output "topics" {
  description = "What must be there: name -> partitions."
  value       = { "interlock.events" = 24 }
}
