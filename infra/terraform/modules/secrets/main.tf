# The keys everything is encrypted with, and the secrets people fill in. Terraform makes them and never sees a value.

variable "prefix" { type = string }
variable "account" { type = string }
variable "region" { type = string }

variable "names" {
  description = "Secrets that are there, empty, from the start."
  type        = list(string)
}

variable "replica_regions" { type = set(string) }

variable "taken" {
  description = "Keys and secrets are here already, as copies of another region's: they are looked up by name, not made."
  type        = bool
}

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
  alias = "alias/${trimsuffix(var.prefix, "/")}"
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
  count                   = var.taken ? 0 : 1
  description             = "${var.prefix}: tables, queues, buckets, logs, secrets"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  multi_region            = true
  policy                  = data.aws_iam_policy_document.key.json
}

resource "aws_kms_replica_key" "platform" {
  for_each                = var.taken ? [] : local.elsewhere
  region                  = each.value
  description             = "${var.prefix}: the platform's key, in ${each.value}"
  primary_key_arn         = aws_kms_key.platform[0].arn
  deletion_window_in_days = 30
  policy                  = data.aws_iam_policy_document.key.json
}

# By these names another region finds the keys when it takes over.
resource "aws_kms_alias" "platform" {
  count         = var.taken ? 0 : 1
  name          = local.alias
  target_key_id = aws_kms_key.platform[0].key_id
}

resource "aws_kms_alias" "copy" {
  for_each      = aws_kms_replica_key.platform
  region        = each.key
  name          = local.alias
  target_key_id = each.value.key_id
}

resource "aws_kms_replica_key" "vault" {
  for_each                = var.taken ? [] : var.replica_regions
  region                  = each.value
  description             = "${var.prefix}: the vaults' key, in ${each.value}"
  primary_key_arn         = aws_kms_key.vault[0].arn
  deletion_window_in_days = 30
  policy                  = data.aws_iam_policy_document.key.json
}

resource "aws_kms_alias" "vault" {
  count         = var.taken ? 0 : 1
  name          = "${local.alias}-vault"
  target_key_id = aws_kms_key.vault[0].key_id
}

resource "aws_kms_alias" "vault_copy" {
  for_each      = aws_kms_replica_key.vault
  region        = each.key
  name          = "${local.alias}-vault"
  target_key_id = each.value.key_id
}

data "aws_kms_alias" "platform" {
  for_each = var.taken ? toset([var.region, "us-east-1"]) : []
  region   = each.value
  name     = local.alias
}

data "aws_kms_alias" "vault" {
  count = var.taken ? 1 : 0
  name  = "${local.alias}-vault"
}

resource "aws_kms_key" "vault" {
  count                   = var.taken ? 0 : 1
  multi_region            = true
  description             = "${var.prefix}: what is kept in vaults, apart from all else"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = data.aws_iam_policy_document.key.json
}

resource "aws_secretsmanager_secret" "this" {
  for_each                = var.taken ? [] : toset(var.names)
  name                    = "${var.prefix}${each.value}"
  kms_key_id              = aws_kms_key.platform[0].arn
  recovery_window_in_days = 30

  dynamic "replica" {
    for_each = var.replica_regions
    content {
      region     = replica.value
      kms_key_id = aws_kms_replica_key.platform[replica.value].arn
    }
  }
}

output "key_arn" { value = var.taken ? data.aws_kms_alias.platform[var.region].target_key_arn : aws_kms_key.platform[0].arn }
output "key_arns" {
  description = "Region -> ARN of the platform's key there."
  value = var.taken ? { for region, one in data.aws_kms_alias.platform : region => one.target_key_arn } : merge(
  { (var.region) = aws_kms_key.platform[0].arn }, { for region, one in aws_kms_replica_key.platform : region => one.arn })
}
output "vault_key_arn" { value = var.taken ? data.aws_kms_alias.vault[0].target_key_arn : aws_kms_key.vault[0].arn }
output "arns" { value = { for name, one in aws_secretsmanager_secret.this : name => one.arn } }
output "prefix_arn" { value = "arn:aws:secretsmanager:${var.region}:${var.account}:secret:${var.prefix}" }
