# API Gateway from the OpenAPI document: a route for each operation, to the function whose prefix fits best; an operation that asks
# for OAuth is behind the authoriser. A function that names methods gets every path below its prefix. CloudFront with WAF stands
# before it, as an HTTP API takes no WAF of its own.

variable "name" { type = string }
variable "region" { type = string }

variable "document" {
  description = "openapi/interlock.json, decoded."
  type        = any
}

variable "functions" {
  description = "Function -> { prefix, methods, arn, invoke_arn, name } of those with an http trigger."
  type        = map(object({ prefix = string, methods = list(string), arn = string, invoke_arn = string, name = string }))
}

variable "authorizer" {
  type = object({ arn = string, invoke_arn = string, name = string })
}

variable "throttle" { type = object({ rate = number, burst = number }) }
variable "log_days" { type = number }
variable "key_arn" { type = string }
variable "edge_key_arn" {
  description = "The key's copy in the region of CloudFront, us-east-1."
  type        = string
}
variable "log_bucket_domain" { type = string }

variable "domain" {
  description = <<-END
    The API's own name and its zone in Route 53; null: it answers under CloudFront's name. `has_edge`: the name's CloudFront
    is this installation's. `leads_here`: so is the API behind it. Two regions share the name; who takes over lets it lead there.
  END
  type        = object({ name = string, zone_id = string, has_edge = bool, leads_here = bool })
}

variable "hidden" {
  description = "Paths that stay inside."
  type        = list(string)
  default     = ["/metrics"]
}

locals {
  operations = { for one in flatten([for path, item in var.document.paths : [for method, operation in item : {
    key      = "${upper(method)} ${path}"
    path     = path
    is_open  = length([for way in try(operation.security, []) : way if contains(keys(way), "oauth2")]) == 0
    function = [for name, function in var.functions : name if startswith(path, function.prefix) && length(function.prefix) == max([for other in values(var.functions) : startswith(path, other.prefix) ? length(other.prefix) : 0]...)][0]
  }]]) : one.key => one if !contains(var.hidden, one.path) }

  # What is below such a prefix is for the function to say, and who asks, too.
  whole = { for one in flatten([for name, function in var.functions : [for method in function.methods : [for path in [function.prefix, "${function.prefix}/{proxy+}"] : {
    key      = "${method} ${path}"
    is_open  = true
    function = name
  }]]]) : one.key => one }
  routes = merge({ for key, one in local.operations : key => { is_open = one.is_open, function = one.function } }, { for key, one in local.whole : key => { is_open = one.is_open, function = one.function } })
}

resource "aws_apigatewayv2_api" "this" {
  name                         = var.name
  protocol_type                = "HTTP"
  disable_execute_api_endpoint = false
}

resource "aws_apigatewayv2_integration" "this" {
  for_each               = var.functions
  api_id                 = aws_apigatewayv2_api.this.id
  integration_type       = "AWS_PROXY"
  integration_uri        = each.value.invoke_arn
  payload_format_version = "2.0"
}

resource "aws_apigatewayv2_authorizer" "caller" {
  api_id                            = aws_apigatewayv2_api.this.id
  name                              = "caller"
  authorizer_type                   = "REQUEST"
  authorizer_uri                    = var.authorizer.invoke_arn
  authorizer_payload_format_version = "2.0"
  authorizer_result_ttl_in_seconds  = 60
  enable_simple_responses           = true
  identity_sources                  = ["$request.header.Authorization"]
}

resource "aws_apigatewayv2_route" "this" {
  for_each           = local.routes
  api_id             = aws_apigatewayv2_api.this.id
  route_key          = each.key
  target             = "integrations/${aws_apigatewayv2_integration.this[each.value.function].id}"
  authorization_type = each.value.is_open ? "NONE" : "CUSTOM"
  authorizer_id      = each.value.is_open ? null : aws_apigatewayv2_authorizer.caller.id
}

resource "aws_cloudwatch_log_group" "access" {
  name              = "/aws/apigateway/${var.name}"
  retention_in_days = var.log_days
  kms_key_id        = var.key_arn
}

resource "aws_apigatewayv2_stage" "this" {
  api_id      = aws_apigatewayv2_api.this.id
  name        = "$default"
  auto_deploy = true

  default_route_settings {
    throttling_rate_limit    = var.throttle.rate
    throttling_burst_limit   = var.throttle.burst
    detailed_metrics_enabled = true
  }

  access_log_settings {
    destination_arn = aws_cloudwatch_log_group.access.arn
    # No path parameters, no headers, no bodies: what a request was about is in the platform's own log.
    format = jsonencode({
      time   = "$context.requestTimeEpoch", request = "$context.requestId", route = "$context.routeKey"
      status = "$context.status", latency_ms = "$context.responseLatency", error = "$context.error.message"
    })
  }
}

resource "aws_lambda_permission" "api" {
  for_each      = merge(var.functions, { authorizer = merge(var.authorizer, { prefix = "", methods = [] }) })
  function_name = each.value.name
  qualifier     = "live"
  action        = "lambda:InvokeFunction"
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_apigatewayv2_api.this.execution_arn}/*"
}

output "health_check" { value = aws_route53_health_check.region.id }
output "firewall" { value = { region = aws_wafv2_web_acl.this.region, counts = flatten(local.groups[*].only_counted) } }
output "id" { value = aws_apigatewayv2_api.this.id }
output "domain" { value = var.domain == null ? aws_cloudfront_distribution.this.domain_name : var.domain.name }
output "routes" { value = { for key, one in local.routes : key => { function = one.function, is_open = one.is_open } } }
