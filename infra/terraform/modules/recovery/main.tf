# Backups that are kept apart from what they are of, and a health check that says when a region is away.

variable "name" { type = string }
variable "key_arn" { type = string }
variable "resources" { type = list(string) }
variable "keep_days" { type = number }
variable "locked" { type = bool }
variable "health_host" { type = string }

variable "copies" {
  description = "Region -> ARN of the key there: where a second copy of each backup is kept."
  type        = map(string)
}

resource "aws_backup_vault" "this" {
  name        = var.name
  kms_key_arn = var.key_arn
}

resource "aws_backup_vault_lock_configuration" "this" {
  count               = var.locked ? 1 : 0
  backup_vault_name   = aws_backup_vault.this.name
  min_retention_days  = 7
  changeable_for_days = 3
}

resource "aws_backup_plan" "this" {
  name = var.name

  rule {
    rule_name                = "daily"
    target_vault_name        = aws_backup_vault.this.name
    schedule                 = "cron(0 3 * * ? *)"
    enable_continuous_backup = false
    lifecycle {
      delete_after = var.keep_days
    }

    dynamic "copy_action" {
      for_each = aws_backup_vault.copy
      content {
        destination_vault_arn = copy_action.value.arn
        lifecycle {
          delete_after = var.keep_days
        }
      }
    }
  }
}

resource "aws_backup_vault" "copy" {
  for_each    = var.copies
  region      = each.key
  name        = var.name
  kms_key_arn = each.value
}

resource "aws_backup_vault_lock_configuration" "copy" {
  for_each            = var.locked ? var.copies : {}
  region              = each.key
  backup_vault_name   = aws_backup_vault.copy[each.key].name
  min_retention_days  = 7
  changeable_for_days = 3
}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["backup.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "this" {
  name               = "${var.name}-backup"
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

resource "aws_iam_role_policy_attachment" "this" {
  # Buckets have policies of their own.
  for_each   = toset(["service-role/AWSBackupServiceRolePolicyForBackup", "service-role/AWSBackupServiceRolePolicyForRestores", "AWSBackupServiceRolePolicyForS3Backup", "AWSBackupServiceRolePolicyForS3Restore"])
  role       = aws_iam_role.this.name
  policy_arn = "arn:aws:iam::aws:policy/${each.value}"
}

resource "aws_backup_selection" "this" {
  name         = var.name
  plan_id      = aws_backup_plan.this.id
  iam_role_arn = aws_iam_role.this.arn
  resources    = var.resources
}

resource "aws_route53_health_check" "this" {
  fqdn              = var.health_host
  type              = "HTTPS"
  port              = 443
  resource_path     = "/readyz"
  failure_threshold = 3
  request_interval  = 30
  measure_latency   = true
}

output "vault" { value = aws_backup_vault.this.name }
output "health_check" { value = aws_route53_health_check.this.id }
