# A state machine from its definition, with the functions it names and no others.

variable "name" { type = string }
variable "prefix" { type = string }
variable "file" { type = string }
variable "functions" { type = map(string) }
variable "log_days" { type = number }
variable "key_arn" { type = string }
variable "account" { type = string }
variable "region" { type = string }

locals {
  # Known before the machine is, as its role is made first.
  arn  = "arn:aws:states:${var.region}:${var.account}:stateMachine:${var.prefix}${var.name}"
  text = file(var.file)
  used = { for name, arn in var.functions : name => arn if strcontains(local.text, "$${${name}}") }
}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["states.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account]
    }
  }
}

resource "aws_iam_role" "this" {
  name               = "${var.prefix}${var.name}"
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

resource "aws_iam_role_policy" "this" {
  name = "call-its-functions"
  role = aws_iam_role.this.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      { Effect = "Allow", Action = ["lambda:InvokeFunction"], Resource = values(local.used) },
      {
        Effect    = "Allow"
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = [var.key_arn]
        Condition = { StringEquals = { "kms:EncryptionContext:aws:states:stateMachineArn" = local.arn } }
      },
      {
        # The delivery of logs and traces has no resource level.
        Effect   = "Allow"
        Action   = ["logs:CreateLogDelivery", "logs:GetLogDelivery", "logs:UpdateLogDelivery", "logs:DeleteLogDelivery", "logs:ListLogDeliveries", "logs:PutResourcePolicy", "logs:DescribeResourcePolicies", "logs:DescribeLogGroups", "xray:PutTraceSegments", "xray:PutTelemetryRecords"]
        Resource = ["*"]
      },
    ]
  })
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/aws/states/${var.prefix}${var.name}"
  retention_in_days = var.log_days
  kms_key_id        = var.key_arn
}

resource "aws_sfn_state_machine" "this" {
  name       = "${var.prefix}${var.name}"
  role_arn   = aws_iam_role.this.arn
  type       = "STANDARD"
  definition = templatefile(var.file, local.used)
  publish    = true

  logging_configuration {
    log_destination        = "${aws_cloudwatch_log_group.this.arn}:*"
    level                  = "ERROR"
    include_execution_data = false
  }

  tracing_configuration {
    enabled = true
  }

  encryption_configuration {
    type                              = "CUSTOMER_MANAGED_KMS_KEY"
    kms_key_id                        = var.key_arn
    kms_data_key_reuse_period_seconds = 300
  }
}

output "arn" { value = aws_sfn_state_machine.this.arn }
output "name" { value = aws_sfn_state_machine.this.name }
