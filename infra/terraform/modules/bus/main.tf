# EventBridge: the platform's events for others' rules, kept for a while, and the schedules that bring parked payments back.

variable "name" { type = string }
variable "account" { type = string }
variable "key_arn" { type = string }
variable "archive_days" { type = number }

variable "schedule_target_arn" {
  description = "The function that a schedule calls."
  type        = string
}

resource "aws_cloudwatch_event_bus" "this" {
  name               = var.name
  kms_key_identifier = var.key_arn
}

resource "aws_cloudwatch_event_archive" "this" {
  name             = var.name
  event_source_arn = aws_cloudwatch_event_bus.this.arn
  retention_days   = var.archive_days
}

resource "aws_scheduler_schedule_group" "this" {
  name = var.name
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

resource "aws_iam_role" "schedules" {
  name               = "${var.name}-schedules"
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

resource "aws_iam_role_policy" "schedules" {
  name = "call-the-target"
  role = aws_iam_role.schedules.id
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = ["lambda:InvokeFunction"], Resource = [var.schedule_target_arn] }]
  })
}

output "arn" { value = aws_cloudwatch_event_bus.this.arn }
output "group" { value = aws_scheduler_schedule_group.this.name }
output "role_arn" { value = aws_iam_role.schedules.arn }
