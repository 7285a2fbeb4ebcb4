# A queue of the Queue port: with its dead letters, as `backends/aws/sqs_messages.py` defines them.

variable "name" { type = string }
variable "lease_s" { type = number }
variable "attempts_max" { type = number }
variable "key_arn" { type = string }

locals {
  # Further receipts after which SQS itself moves a message that no process lived long enough to bury.
  net          = 3
  retention_s  = 1209600
  message_most = 262144
}

resource "aws_sqs_queue" "dead" {
  name                              = "${var.name}-dead"
  message_retention_seconds         = local.retention_s
  max_message_size                  = local.message_most
  kms_master_key_id                 = var.key_arn
  kms_data_key_reuse_period_seconds = 300
}

resource "aws_sqs_queue" "this" {
  name                              = var.name
  visibility_timeout_seconds        = var.lease_s
  message_retention_seconds         = local.retention_s
  max_message_size                  = local.message_most
  kms_master_key_id                 = var.key_arn
  kms_data_key_reuse_period_seconds = 300

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead.arn
    maxReceiveCount     = var.attempts_max + local.net
  })
}

resource "aws_sqs_queue_redrive_allow_policy" "dead" {
  queue_url = aws_sqs_queue.dead.id
  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.this.arn]
  })
}

output "arn" { value = aws_sqs_queue.this.arn }
output "url" { value = aws_sqs_queue.this.url }
output "dead_arn" { value = aws_sqs_queue.dead.arn }
output "dead_name" { value = aws_sqs_queue.dead.name }
