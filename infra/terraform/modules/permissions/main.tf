# From what a function says it may do to the statements of its policy. Pure: no resource, so that it can be read, planned and tested
# alone. Every word a `function.yaml` may say is here, and nowhere else.

variable "may" {
  description = "Lines such as `write table` or `send queue webhooks`: verb, noun and, for some, a name."
  type        = list(string)
}

variable "places" {
  description = "ARNs of what there is to be allowed, by noun; those with a name in them hold {name}."
  type = object({
    table         = string
    stream        = string
    queue         = string
    topic         = string
    blobs         = string
    bucket        = string
    secrets       = string
    logins        = string
    key           = string
    vault_key     = string
    schedules     = string
    schedule_role = string
    event_bus     = string
    workflow      = string
    executions    = string
    unprocessed   = string
  })
}

variable "region" { type = string }

variable "trigger" {
  description = "What calls the function; null: of the words alone."
  type        = string
  default     = null
}

variable "network" {
  description = "Whether it stands in the private network."
  type        = bool
  default     = false
}

locals {
  implied = var.trigger == null ? [] : concat(
    ["be traced"],
    contains(["stream", "kafka", "schedule"], var.trigger) ? ["called ${var.trigger}"] : [],
    var.network ? ["stand inside"] : [],
  )
  said = [for one in concat(var.may, local.implied) : {
    grant = join(" ", slice(split(" ", one), 0, 2))
    name  = try(split(" ", one)[2], "")
  }]

  grants = {
    "read table" = [{
      actions   = ["dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:Query", "dynamodb:ConditionCheckItem"]
      resources = [var.places.table, "${var.places.table}/index/*"]
    }]
    # For the few that read every history: a scan is slow and dear, and sees all tenants.
    "scan table" = [{
      actions   = ["dynamodb:Scan"]
      resources = [var.places.table]
    }]
    "write table" = [{
      actions   = ["dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:ConditionCheckItem"]
      resources = [var.places.table]
      }, {
      # Items end; what happened stays: rows of histories begin with e/ (backends/aws/table.py).
      actions   = ["dynamodb:DeleteItem"]
      resources = [var.places.table]
      condition = { "ForAllValues:StringLike" = { "dynamodb:LeadingKeys" = ["i/*"] } }
    }]
    "read stream" = [{
      actions   = ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"]
      resources = [var.places.stream]
    }]
    "send queue" = [{
      actions   = ["sqs:SendMessage"]
      resources = [var.places.queue]
    }]
    "receive queue" = [{
      actions   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes"]
      resources = [var.places.queue]
      }, {
      # The platform buries a message itself, after its last attempt.
      actions   = ["sqs:SendMessage"]
      resources = ["${var.places.queue}-dead"]
    }]
    # For people who look at what could not be handled. SQS lets nobody read dead letters without taking them for a moment.
    "mend queue" = [{
      actions   = ["sqs:GetQueueAttributes"]
      resources = [var.places.queue]
      }, {
      actions   = ["sqs:GetQueueAttributes", "sqs:ReceiveMessage", "sqs:ChangeMessageVisibility", "sqs:DeleteMessage"]
      resources = ["${var.places.queue}-dead"]
    }]
    "publish topic" = [{
      actions   = ["sns:Publish"]
      resources = [var.places.topic]
    }]
    # Kafka knows its own access rules; what AWS gives is the login.
    "publish bus" = [{
      actions   = ["secretsmanager:GetSecretValue"]
      resources = ["${var.places.logins}kafka/login-*"]
    }]
    "consume bus" = [{
      actions   = ["secretsmanager:GetSecretValue"]
      resources = ["${var.places.logins}kafka/login-*"]
    }]
    "read documents" = [{
      actions   = ["secretsmanager:GetSecretValue"]
      resources = ["${var.places.logins}documents/uri-*"]
    }]
    "write documents" = [{
      actions   = ["secretsmanager:GetSecretValue"]
      resources = ["${var.places.logins}documents/uri-*"]
    }]
    "read blobs" = [{
      actions   = ["s3:GetObject"]
      resources = ["${var.places.blobs}{name}*"]
      }, {
      actions   = ["s3:ListBucket"]
      resources = [var.places.bucket]
      condition = { StringLike = { "s3:prefix" = ["{name}*"] } }
    }]
    "write blobs" = [{
      actions   = ["s3:PutObject", "s3:GetObject"]
      resources = ["${var.places.blobs}{name}*"]
    }]
    "read secrets" = [{
      actions   = ["secretsmanager:GetSecretValue"]
      resources = ["${var.places.secrets}{name}*"]
    }]
    "write secrets" = [{
      actions   = ["secretsmanager:CreateSecret", "secretsmanager:PutSecretValue", "secretsmanager:RestoreSecret", "secretsmanager:DeleteSecret"]
      resources = ["${var.places.secrets}{name}*"]
    }]
    "use vault" = [{
      actions   = ["kms:GenerateDataKey", "kms:Decrypt"]
      resources = [var.places.vault_key]
    }]
    "put events" = [{
      actions   = ["events:PutEvents"]
      resources = [var.places.event_bus]
    }]
    "write schedules" = [{
      actions   = ["scheduler:CreateSchedule", "scheduler:UpdateSchedule", "scheduler:DeleteSchedule"]
      resources = [var.places.schedules]
      }, {
      actions   = ["iam:PassRole"]
      resources = [var.places.schedule_role]
      condition = { StringEquals = { "iam:PassedToService" = ["scheduler.amazonaws.com"] } }
    }]
    "start workflow" = [{
      actions   = ["states:StartExecution"]
      resources = [var.places.workflow]
      }, {
      actions   = ["states:DescribeExecution"]
      resources = ["${var.places.executions}:*"]
    }]
    # A task token names no state machine, so neither can the permission.
    "signal workflows" = [{
      actions   = ["states:SendTaskSuccess", "states:SendTaskFailure"]
      resources = ["*"]
    }]
    # Ways out of the network are the network module's; these words are for people, and for it.
    "call providers" = []
    "call anywhere"  = []

    # What a function may because of how it is called and where it stands: implied, never said by a function.yaml.
    "be traced" = [{
      # X-Ray knows no resources.
      actions   = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]
      resources = ["*"]
    }]
    "called stream" = [{
      actions   = ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"]
      resources = [var.places.stream]
      }, {
      # The list is of a table's streams, whichever they are.
      actions   = ["dynamodb:ListStreams"]
      resources = ["${var.places.table}/stream/*"]
    }]
    "called kafka" = [{
      actions   = ["secretsmanager:GetSecretValue"]
      resources = ["${var.places.logins}kafka-mapping-*"]
      }, {
      actions   = ["sqs:SendMessage"]
      resources = [var.places.unprocessed]
      }, {
      # The mapping looks at the network before there is anything to name.
      actions   = ["ec2:DescribeVpcs", "ec2:DescribeSecurityGroups"]
      resources = ["*"]
    }]
    "called schedule" = [{
      actions   = ["sqs:SendMessage"]
      resources = [var.places.unprocessed]
    }]
    "stand inside" = [{
      # Lambda makes its network interfaces before there is anything to name.
      actions   = ["ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DeleteNetworkInterface", "ec2:DescribeSubnets", "ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses"]
      resources = ["*"]
    }]
  }
  said_by_us = ["be traced", "called stream", "called kafka", "called schedule", "stand inside"]

  # What is encrypted with the platform's key is opened only through the service that keeps it.
  via = {
    "read table"      = ["dynamodb"], "write table" = ["dynamodb"], "scan table" = ["dynamodb"], "read stream" = ["dynamodb"], "called stream" = ["dynamodb"]
    "send queue"      = ["sqs"], "receive queue" = ["sqs"], "mend queue" = ["sqs"], "called schedule" = ["sqs"]
    "called kafka"    = ["secretsmanager", "sqs"]
    "publish topic"   = ["sns"]
    "publish bus"     = ["secretsmanager"], "consume bus" = ["secretsmanager"]
    "read documents"  = ["secretsmanager"], "write documents" = ["secretsmanager"]
    "read secrets"    = ["secretsmanager"], "write secrets" = ["secretsmanager"]
    "be traced"       = []
    "read blobs"      = ["s3"], "write blobs" = ["s3"]
    "write schedules" = [], "start workflow" = [], "signal workflows" = [], "put events" = [], "use vault" = []
    "call providers"  = [], "call anywhere" = [], "stand inside" = []
  }
  services = sort(distinct([for service in flatten([for one in local.said : local.via[one.grant]]) : "${service}.${var.region}.amazonaws.com"]))

  granted = flatten([for one in local.said : [for grant in local.grants[one.grant] : {
    actions   = grant.actions
    resources = [for place in grant.resources : replace(place, "{name}", one.name)]
    condition = replace(jsonencode(try(grant.condition, {})), "{name}", one.name)
  }]])
}

output "statements" {
  description = "Of an IAM policy, all but the function's own log."
  value = concat(
    [for one in local.granted : merge(
      { Effect = "Allow", Action = one.actions, Resource = one.resources },
      one.condition == "{}" ? {} : { Condition = jsondecode(one.condition) },
    )],
    length(local.services) == 0 ? [] : [{
      Effect    = "Allow"
      Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
      Resource  = [var.places.key]
      Condition = { StringEquals = { "kms:ViaService" = local.services } }
    }],
  )
}

output "words" {
  description = "Everything a function.yaml may say."
  value       = setsubtract(keys(local.grants), local.said_by_us)
}
