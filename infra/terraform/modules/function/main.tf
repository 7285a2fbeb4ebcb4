# One Lambda, as its `function.yaml` describes it: role, log, alias, trigger, and a canary that rolls back by itself.

locals {
  full_name = "${var.prefix}${var.name}"
  trigger   = one(keys(var.description.trigger))
  how       = var.description.trigger[local.trigger]
  network   = try(var.description.network, false)

  # Who does not read the providers' credentials is not told of providers: opening the platform would ask for them.
  hears_providers = anytrue([for one in var.description.may : startswith(one, "read secrets provider/")])
  environment     = { for name, value in var.environment : name => value if name != "INTERLOCK_PROVIDERS" || local.hears_providers }
}

module "permissions" {
  source  = "../permissions"
  may     = var.description.may
  trigger = local.trigger
  network = local.network
  places  = var.places
  region  = var.region
}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "this" {
  name               = local.full_name
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

resource "aws_iam_role_policy" "this" {
  name = "what-function-yaml-says"
  role = aws_iam_role.this.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(module.permissions.statements, [{
      Effect   = "Allow"
      Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
      Resource = ["${aws_cloudwatch_log_group.this.arn}:*"]
    }])
  })
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/aws/lambda/${local.full_name}"
  retention_in_days = var.log_days
  kms_key_id        = var.places.key
}

resource "aws_lambda_function" "this" {
  function_name    = local.full_name
  description      = var.description.description
  role             = aws_iam_role.this.arn
  runtime          = "python3.11"
  architectures    = [var.architecture]
  handler          = "handler.handle"
  filename         = "${var.archives}/${var.name}.zip"
  source_code_hash = try(filebase64sha256("${var.archives}/${var.name}.zip"), null)
  layers           = concat([var.layers.dependencies], try(var.description.arrays, false) ? [var.layers.arrays] : [])
  memory_size      = var.description.memory_mb
  timeout          = var.description.timeout_s
  # Nothing runs in an installation that stands by, whoever calls.
  reserved_concurrent_executions = var.active ? try(var.description.reserved_concurrency, -1) : 0
  publish                        = true
  kms_key_arn                    = var.places.key

  environment {
    variables = merge(local.environment, { POWERTOOLS_SERVICE_NAME = var.name })
  }

  tracing_config {
    mode = "Active"
  }

  logging_config {
    log_format = "Text"
    log_group  = aws_cloudwatch_log_group.this.name
  }

  dynamic "vpc_config" {
    for_each = local.network ? [1] : []
    content {
      subnet_ids         = var.network.subnets
      security_group_ids = [var.network.security_group]
    }
  }
}

resource "aws_lambda_alias" "live" {
  name             = "live"
  function_name    = aws_lambda_function.this.function_name
  function_version = aws_lambda_function.this.version

  lifecycle {
    # CodeDeploy moves it, a share of the traffic first.
    ignore_changes = [function_version, routing_config]
  }
}

# -- what calls it ------------------------------------------------------------------------------------------------------

resource "aws_lambda_event_source_mapping" "stream" {
  count                              = local.trigger == "stream" ? 1 : 0
  enabled                            = var.active
  function_name                      = aws_lambda_alias.live.arn
  event_source_arn                   = var.places.stream
  starting_position                  = "TRIM_HORIZON"
  batch_size                         = local.how.batch
  maximum_batching_window_in_seconds = local.how.window_s
  parallelization_factor             = local.how.parallelization
  # Nothing is given up while the bus is away: a record is retried for the day that the stream keeps it.
  maximum_retry_attempts = -1
}

resource "aws_lambda_event_source_mapping" "queue" {
  count                   = local.trigger == "queue" ? 1 : 0
  enabled                 = var.active
  function_name           = aws_lambda_alias.live.arn
  event_source_arn        = replace(var.places.queue, "{name}", local.how.name)
  batch_size              = local.how.batch
  function_response_types = ["ReportBatchItemFailures"]

  scaling_config {
    maximum_concurrency = local.how.concurrency
  }
}

resource "aws_lambda_event_source_mapping" "kafka" {
  count             = local.trigger == "kafka" ? 1 : 0
  enabled           = var.active
  function_name     = aws_lambda_alias.live.arn
  topics            = ["${var.kafka.prefix}${local.how.topic}"]
  batch_size        = local.how.batch
  starting_position = "TRIM_HORIZON"

  self_managed_event_source {
    endpoints = { KAFKA_BOOTSTRAP_SERVERS = var.kafka.bootstrap_servers }
  }

  self_managed_kafka_event_source_config {
    consumer_group_id = "${var.kafka.prefix}${local.how.group}"
  }

  source_access_configuration {
    type = "BASIC_AUTH"
    uri  = var.kafka.mapping_secret
  }

  dynamic "source_access_configuration" {
    for_each = [for subnet in var.network.subnets : { type = "VPC_SUBNET", uri = "subnet:${subnet}" }]
    content {
      type = source_access_configuration.value.type
      uri  = source_access_configuration.value.uri
    }
  }

  source_access_configuration {
    type = "VPC_SECURITY_GROUP"
    uri  = "security_group:${var.network.security_group}"
  }

  destination_config {
    on_failure {
      destination_arn = var.places.unprocessed
    }
  }
}

resource "aws_cloudwatch_event_rule" "schedule" {
  count               = local.trigger == "schedule" ? 1 : 0
  name                = local.full_name
  description         = var.description.description
  schedule_expression = local.how.every
  state               = var.active ? "ENABLED" : "DISABLED"
}

resource "aws_cloudwatch_event_target" "schedule" {
  count = local.trigger == "schedule" ? 1 : 0
  rule  = aws_cloudwatch_event_rule.schedule[0].name
  arn   = aws_lambda_alias.live.arn
}

resource "aws_lambda_permission" "schedule" {
  count         = local.trigger == "schedule" ? 1 : 0
  function_name = aws_lambda_function.this.function_name
  qualifier     = aws_lambda_alias.live.name
  action        = "lambda:InvokeFunction"
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.schedule[0].arn
}

# What is called without anybody waiting, and failed three times, is kept where somebody sees it.
resource "aws_lambda_function_event_invoke_config" "schedule" {
  count                  = local.trigger == "schedule" ? 1 : 0
  function_name          = aws_lambda_function.this.function_name
  qualifier              = aws_lambda_alias.live.name
  maximum_retry_attempts = 2

  destination_config {
    on_failure {
      destination = var.places.unprocessed
    }
  }
}

# -- canary -------------------------------------------------------------------------------------------------------------

resource "aws_cloudwatch_metric_alarm" "canary" {
  alarm_name          = "${local.full_name}-canary"
  alarm_description   = "Errors of the version that is being rolled out: CodeDeploy takes it back."
  namespace           = "AWS/Lambda"
  metric_name         = "Errors"
  dimensions          = { FunctionName = local.full_name, Resource = "${local.full_name}:live" }
  statistic           = "Sum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  period              = 60
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
}

resource "aws_codedeploy_deployment_group" "canary" {
  app_name               = var.deployment.app
  deployment_group_name  = local.full_name
  deployment_config_name = var.deployment.config
  service_role_arn       = var.deployment.role

  deployment_style {
    deployment_option = "WITH_TRAFFIC_CONTROL"
    deployment_type   = "BLUE_GREEN"
  }

  alarm_configuration {
    enabled = true
    alarms  = [aws_cloudwatch_metric_alarm.canary.alarm_name]
  }

  auto_rollback_configuration {
    enabled = true
    events  = ["DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM"]
  }
}
