# Transfer Family: settlement files arrive by SFTP in the bucket's inbox, and each starts its intake.

variable "name" { type = string }
variable "bucket" { type = object({ name = string, arn = string }) }
variable "key_arn" { type = string }
variable "log_days" { type = number }
variable "account" { type = string }
variable "region" { type = string }
variable "network" { type = object({ vpc = string, public_subnets = list(string) }) }

variable "sources" {
  description = "CIDR blocks that senders connect from. Nobody else reaches the port."
  type        = set(string)
}


variable "users" {
  description = "Tenant whose files these are -> public SSH keys of who sends them. Files arrive in inbox/<tenant>/."
  type        = map(list(string))
}

variable "workflow_arn" {
  description = "State machine of file_intake."
  type        = string
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/aws/transfer/${var.name}"
  retention_in_days = var.log_days
  kms_key_id        = var.key_arn
}

resource "aws_transfer_server" "this" {
  protocols                   = ["SFTP"]
  endpoint_type               = "VPC"
  domain                      = "S3"
  identity_provider_type      = "SERVICE_MANAGED"
  security_policy_name        = "TransferSecurityPolicy-2025-03"
  structured_log_destinations = ["${aws_cloudwatch_log_group.this.arn}:*"]

  endpoint_details {
    vpc_id                 = var.network.vpc
    subnet_ids             = var.network.public_subnets
    address_allocation_ids = aws_eip.in[*].id
    security_group_ids     = [aws_security_group.this.id]
  }
}

# Fixed addresses: senders put them on their allow-lists.
resource "aws_eip" "in" {
  count  = length(var.network.public_subnets)
  domain = "vpc"
}

resource "aws_security_group" "this" {
  name        = var.name
  description = "SFTP, from the senders of files."
  vpc_id      = var.network.vpc
}

resource "aws_vpc_security_group_ingress_rule" "this" {
  for_each          = var.sources
  security_group_id = aws_security_group.this.id
  description       = "SFTP from ${each.value}"
  ip_protocol       = "tcp"
  from_port         = 22
  to_port           = 22
  cidr_ipv4         = each.value
}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["transfer.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account]
    }
  }
}

resource "aws_iam_role" "user" {
  for_each           = var.users
  name               = "${var.name}-${each.key}"
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

# A sender puts files into an inbox of its own, and reads and deletes nothing.
resource "aws_iam_role_policy" "user" {
  for_each = var.users
  name     = "own-inbox"
  role     = aws_iam_role.user[each.key].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      { Effect = "Allow", Action = ["s3:PutObject"], Resource = ["${var.bucket.arn}/inbox/${each.key}/*"] },
      {
        Effect    = "Allow"
        Action    = ["s3:ListBucket"]
        Resource  = [var.bucket.arn]
        Condition = { StringLike = { "s3:prefix" = ["inbox/${each.key}/*"] } }
      },
      {
        Effect    = "Allow"
        Action    = ["kms:GenerateDataKey", "kms:Decrypt"]
        Resource  = [var.key_arn]
        Condition = { StringEquals = { "kms:ViaService" = ["s3.${var.region}.amazonaws.com"] } }
      },
    ]
  })
}

resource "aws_transfer_user" "this" {
  for_each            = var.users
  server_id           = aws_transfer_server.this.id
  user_name           = each.key
  role                = aws_iam_role.user[each.key].arn
  home_directory_type = "LOGICAL"

  home_directory_mappings {
    entry  = "/"
    target = "/${var.bucket.name}/inbox/${each.key}"
  }
}

resource "aws_transfer_ssh_key" "this" {
  for_each = { for one in flatten([for user, keys in var.users : [for place, key in keys : { user = user, key = key, name = "${user} ${place}" }]]) :
  one.name => one }
  server_id = aws_transfer_server.this.id
  user_name = aws_transfer_user.this[each.value.user].user_name
  body      = each.value.key
}

# -- a file that arrived starts its intake

locals {
  pattern = {
    source        = ["aws.s3"]
    "detail-type" = ["Object Created"]
    detail        = { bucket = { name = [var.bucket.name] }, object = { key = [{ prefix = "inbox/" }] } }
  }
}

resource "aws_cloudwatch_event_rule" "arrived" {
  name          = "${var.name}-arrived"
  description   = "A file is in the inbox."
  event_pattern = jsonencode(local.pattern)
}

data "aws_iam_policy_document" "events" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account]
    }
  }
}

resource "aws_iam_role" "events" {
  name               = "${var.name}-arrived"
  assume_role_policy = data.aws_iam_policy_document.events.json
}

resource "aws_iam_role_policy" "events" {
  name = "start-the-intake"
  role = aws_iam_role.events.id
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = ["states:StartExecution"], Resource = [var.workflow_arn] }]
  })
}

resource "aws_cloudwatch_event_target" "intake" {
  rule     = aws_cloudwatch_event_rule.arrived.name
  arn      = var.workflow_arn
  role_arn = aws_iam_role.events.arn

  input_transformer {
    input_paths    = { key = "$.detail.object.key", size = "$.detail.object.size" }
    input_template = "{\"key\": <key>, \"size\": <size>}"
  }
}

output "endpoint" { value = aws_transfer_server.this.endpoint }
output "pattern" { value = jsonencode(local.pattern) }
output "addresses" { value = aws_eip.in[*].public_ip }
