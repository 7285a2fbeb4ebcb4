# The keys everything is encrypted with, and the secrets people fill in. Terraform makes them and never sees a value.

variable "prefix" { type = string }
variable "account" { type = string }
variable "region" { type = string }

variable "names" {
  description = "Secrets that are there, empty, from the start."
  type        = list(string)
}

variable "replica_regions" { type = list(string) }

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
  statement {
    sid       = "LogsAndAlarms"
    actions   = ["kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey*", "kms:DescribeKey"]
    resources = ["*"]
    principals {
      type        = "Service"
      identifiers = ["logs.${var.region}.amazonaws.com", "cloudwatch.amazonaws.com", "events.amazonaws.com"]
    }
  }
}

resource "aws_kms_key" "platform" {
  description             = "${var.prefix}: tables, queues, buckets, logs, secrets"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  multi_region            = true
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
      region = replica.value
    }
  }
}

output "key_arn" { value = aws_kms_key.platform.arn }
output "vault_key_arn" { value = aws_kms_key.vault.arn }
output "arns" { value = { for name, one in aws_secretsmanager_secret.this : name => one.arn } }
output "prefix_arn" { value = "arn:aws:secretsmanager:${var.region}:${var.account}:secret:${var.prefix}" }
