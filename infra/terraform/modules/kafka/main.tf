# What AWS needs to know of a Kafka cluster that somebody else runs (Confluent Cloud): how to reach it, and the login of the event
# source mapping. Topics are made there, by their own provider or by hand: docs/operations/deploy.md says which.

variable "prefix" { type = string }
variable "bootstrap_servers" { type = string }
variable "key_arn" { type = string }

variable "key_arns" {
  description = "Region -> ARN of the key there, for copies of the login."
  type        = map(string)
}

variable "taken" {
  description = "The login is here already, as a copy of another region's."
  type        = bool
}

variable "private_service" {
  description = "Name of the cluster's PrivateLink endpoint service; empty: it is reached over the network's way out."
  type        = string
}

variable "network" {
  type = object({ vpc = string, subnets = list(string), security_group = string })
}

# Lambda's mapping wants { username, password } under a name of its own; the platform's login is the secret kafka/login.
resource "aws_secretsmanager_secret" "mapping" {
  count                   = var.taken ? 0 : 1
  name                    = "${var.prefix}kafka-mapping"
  kms_key_id              = var.key_arn
  recovery_window_in_days = 30

  dynamic "replica" {
    for_each = var.key_arns
    content {
      region     = replica.key
      kms_key_id = replica.value
    }
  }
}

data "aws_secretsmanager_secret" "mapping" {
  count = var.taken ? 1 : 0
  name  = "${var.prefix}kafka-mapping"
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
  value = { bootstrap_servers = var.bootstrap_servers, prefix = "interlock.", mapping_secret = var.taken ? data.aws_secretsmanager_secret.mapping[0].arn : aws_secretsmanager_secret.mapping[0].arn }
}

output "topics" {
  description = "What must be there: name -> partitions."
  value       = { "interlock.events" = 24 }
}
