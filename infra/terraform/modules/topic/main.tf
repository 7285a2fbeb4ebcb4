# Where alarms go, and to whom.

variable "name" { type = string }
variable "account" { type = string }
variable "key_arn" { type = string }

variable "subscribers" {
  description = "protocol -> endpoints, e.g. { https = [\"https://events.pagerduty.com/...\"] }"
  type        = map(list(string))
}

resource "aws_sns_topic" "this" {
  name              = var.name
  kms_master_key_id = var.key_arn
}

data "aws_iam_policy_document" "this" {
  statement {
    sid       = "CloudWatchTells"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.this.arn]
    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account]
    }
  }
}

resource "aws_sns_topic_policy" "this" {
  arn    = aws_sns_topic.this.arn
  policy = data.aws_iam_policy_document.this.json
}

resource "aws_sns_topic_subscription" "this" {
  for_each = { for one in flatten([for protocol, ends in var.subscribers : [for end in ends : { protocol = protocol, end = end }]]) :
  "${one.protocol} ${one.end}" => one }
  topic_arn = aws_sns_topic.this.arn
  protocol  = each.value.protocol
  endpoint  = each.value.end
}

output "arn" { value = aws_sns_topic.this.arn }
