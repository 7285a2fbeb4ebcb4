# Every night, for each tenant: the ledger of the day that ended is proved and archived. A start that failed all night is kept in a queue.

variable "name" { type = string }
variable "account" { type = string }
variable "key_arn" { type = string }
variable "region" { type = string }

variable "active" { type = bool }

variable "tenants" {
  description = "Whose ledgers."
  type        = set(string)
}

variable "workflow_arn" {
  description = "State machine of nightly_ledger_verification."
  type        = string
}

variable "unprocessed" {
  description = "ARN of the queue for what could not be started."
  type        = string
}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["scheduler.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account]
    }
  }
}

resource "aws_iam_role" "this" {
  name               = "${var.name}-nightly"
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

resource "aws_iam_role_policy" "this" {
  name = "start-the-verification"
  role = aws_iam_role.this.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      { Effect = "Allow", Action = ["states:StartExecution"], Resource = [var.workflow_arn] },
      { Effect = "Allow", Action = ["sqs:SendMessage"], Resource = [var.unprocessed] },
      {
        Effect    = "Allow"
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = [var.key_arn]
        Condition = { StringEquals = { "kms:ViaService" = ["sqs.${var.region}.amazonaws.com"] } }
      },
      {
        # Scheduler opens a schedule's input as this role.
        Effect    = "Allow"
        Action    = ["kms:Decrypt"]
        Resource  = [var.key_arn]
        Condition = { ArnLike = { "kms:EncryptionContext:aws:scheduler:schedule:arn" = "arn:aws:scheduler:${var.region}:${var.account}:schedule/${var.name}-nightly/*" } }
      },
    ]
  })
}

resource "aws_scheduler_schedule_group" "this" {
  name = "${var.name}-nightly"
}

resource "aws_scheduler_schedule" "this" {
  for_each    = var.tenants
  name        = each.value
  group_name  = aws_scheduler_schedule_group.this.name
  description = "Proves the ledger of ${each.value} for the day that ended."
  kms_key_arn = var.key_arn
  # By one o'clock whatever happened before midnight is in the table. All at once would be all tenants' reads at once.
  schedule_expression = "cron(0 1 * * ? *)"
  state               = var.active ? "ENABLED" : "DISABLED"

  flexible_time_window {
    mode                      = "FLEXIBLE"
    maximum_window_in_minutes = 60
  }

  target {
    arn      = var.workflow_arn
    role_arn = aws_iam_role.this.arn
    input    = jsonencode(local.inputs[each.value])

    retry_policy {
      maximum_event_age_in_seconds = 14400
      maximum_retry_attempts       = 60
    }

    dead_letter_config {
      arn = var.unprocessed
    }
  }
}

locals {
  # The workflow takes the day before this time; Scheduler puts it in.
  inputs = { for tenant in var.tenants : tenant => { tenant = tenant, at = "<aws.scheduler.scheduled-time>" } }
}

output "inputs" { value = local.inputs }
output "states" { value = toset([for one in aws_scheduler_schedule.this : one.state]) }
