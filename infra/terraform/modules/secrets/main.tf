# The keys everything is encrypted with, and the secrets people fill in. Terraform makes them and never sees a value.

variable "prefix" { type = string }
variable "account" { type = string }
variable "region" { type = string }

variable "names" {
  description = "Secrets that are there, empty, from the start."
  type        = list(string)
}

variable "replica_regions" { type = set(string) }

data "aws_iam_policy_document" "key" {
  statement {
    sid       = "TheAccount"
    actions   = ["kms:*"]
    resources = ["*"] # of a key's own policy: this key
    principals {
      type        = "AWS"
      identifiers = ["arn:aws:iam::${var.account}:root"]
    }
  }
  # For what each of them encrypts in this account, and for nobody else's.
  dynamic "statement" {
    for_each = local.services
    content {
      sid       = statement.key
      actions   = ["kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey*", "kms:DescribeKey"]
      resources = ["*"]
      principals {
        type        = "Service"
        identifiers = statement.value.who
      }
      condition {
        test     = statement.value.test
        variable = statement.value.variable
        values   = [statement.value.is]
      }
    }
  }
}

locals {
  # Copies for the regions of replicas, and for us-east-1, where CloudFront's firewall keeps its log.
  elsewhere = setsubtract(setunion(var.replica_regions, ["us-east-1"]), [var.region])
  services = {
    Logs        = { who = [for region in setunion([var.region], local.elsewhere) : "logs.${region}.amazonaws.com"], test = "ArnLike", variable = "kms:EncryptionContext:aws:logs:arn", is = "arn:aws:logs:*:${var.account}:log-group:*" }
    LogDelivery = { who = ["delivery.logs.amazonaws.com"], test = "StringEquals", variable = "aws:SourceAccount", is = var.account }
    Alarms      = { who = ["cloudwatch.amazonaws.com"], test = "StringEquals", variable = "aws:SourceAccount", is = var.account }
    Events      = { who = ["events.amazonaws.com"], test = "StringEquals", variable = "aws:SourceAccount", is = var.account }
  }
}

resource "aws_kms_key" "platform" {
  description             = "${var.prefix}: tables, queues, buckets, logs, secrets"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  multi_region            = true
  policy                  = data.aws_iam_policy_document.key.json
}

resource "aws_kms_replica_key" "platform" {
  for_each                = local.elsewhere
  region                  = each.value
  description             = "${var.prefix}: the platform's key, in ${each.value}"
  primary_key_arn         = aws_kms_key.platform.arn
  deletion_window_in_days = 30
  policy                  = data.aws_iam_policy_document.key.json
}

resource "aws_kms_alias" "platform" {
  name          = "alias/${trimsuffix(var.prefix, "/")}"
  target_key_id = aws_kms_key.platform.key_id
}

resource "aws_kms_key" "vault" {
  description             = "${var.prefix}: what is kept in vaults, apart from all else"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = data.aws_iam_policy_document.key.json
}

resource "aws_secretsmanager_secret" "this" {
  for_each                = toset(var.names)
  name                    = "${var.prefix}${each.value}"
  kms_key_id              = aws_kms_key.platform.arn
  recovery_window_in_days = 30

  dynamic "replica" {
    for_each = var.replica_regions
    content {
      region     = replica.value
      kms_key_id = aws_kms_replica_key.platform[replica.value].arn
    }
  }
}

output "key_arn" { value = aws_kms_key.platform.arn }
output "key_arns" {
  description = "Region -> ARN of the platform's key there."
  value       = merge({ (var.region) = aws_kms_key.platform.arn }, { for region, one in aws_kms_replica_key.platform : region => one.arn })
}
output "vault_key_arn" { value = aws_kms_key.vault.arn }
output "arns" { value = { for name, one in aws_secretsmanager_secret.this : name => one.arn } }
output "prefix_arn" { value = "arn:aws:secretsmanager:${var.region}:${var.account}:secret:${var.prefix}" }
