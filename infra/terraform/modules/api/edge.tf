# CloudFront with WAF before the API. What belongs to CloudFront stands in us-east-1, wherever the API is.

locals {
  edge = "us-east-1"
  # One address may make so many requests in five minutes.
  limit = var.throttle.rate * 300

  # In the words of WAF itself.
  rules = concat(
    [{
      Name             = "too-many-from-one-address"
      Priority         = 1
      Action           = { Block = {} }
      Statement        = { RateBasedStatement = { Limit = local.limit, AggregateKeyType = "IP" } }
      VisibilityConfig = { CloudWatchMetricsEnabled = true, SampledRequestsEnabled = true, MetricName = "too-many-from-one-address" }
    }],
    [for place, group in local.groups : {
      Name             = group.name
      Priority         = place + 2
      OverrideAction   = { None = {} }
      Statement        = { ManagedRuleGroupStatement = { VendorName = "AWS", Name = group.name, RuleActionOverrides = [for one in group.only_counted : { Name = one, ActionToUse = { Count = {} } }] } }
      VisibilityConfig = { CloudWatchMetricsEnabled = true, SampledRequestsEnabled = true, MetricName = group.name }
    }],
  )
  groups = [
    { name = "AWSManagedRulesKnownBadInputsRuleSet", only_counted = [] },
    # It refuses bodies above 8 KB, and providers' notifications are larger; the platform has a limit of its own.
    { name = "AWSManagedRulesCommonRuleSet", only_counted = ["SizeRestrictions_BODY"] },
    { name = "AWSManagedRulesAmazonIpReputationList", only_counted = [] },
  ]
}

resource "aws_wafv2_web_acl" "this" {
  region = local.edge
  name   = var.name
  scope  = "CLOUDFRONT"

  default_action {
    allow {}
  }

  rule_json = jsonencode(local.rules)

  visibility_config {
    cloudwatch_metrics_enabled = true
    sampled_requests_enabled   = true
    metric_name                = var.name
  }
}

resource "aws_cloudwatch_log_group" "waf" {
  region            = local.edge
  name              = "aws-waf-logs-${var.name}"
  retention_in_days = var.log_days
  kms_key_id        = var.edge_key_arn
}

resource "aws_wafv2_web_acl_logging_configuration" "this" {
  region                  = local.edge
  resource_arn            = aws_wafv2_web_acl.this.arn
  log_destination_configs = [aws_cloudwatch_log_group.waf.arn]

  redacted_fields {
    single_header {
      name = "authorization"
    }
  }
}

resource "aws_cloudfront_response_headers_policy" "this" {
  name = var.name

  security_headers_config {
    strict_transport_security {
      access_control_max_age_sec = 31536000
      include_subdomains         = true
      preload                    = true
      override                   = true
    }
    content_type_options {
      override = true
    }
  }
}

resource "aws_cloudfront_distribution" "this" {
  enabled         = true
  comment         = "${var.name}: WAF before the API"
  is_ipv6_enabled = true
  http_version    = "http2and3"
  price_class     = "PriceClass_100"
  web_acl_id      = aws_wafv2_web_acl.this.arn
  # The other region's distribution has no name: the name's own finds that region's API behind the origin's name.
  aliases = local.has_edge ? [var.domain.name] : []

  origin {
    origin_id   = "api"
    domain_name = local.has_edge ? local.origin : "${aws_apigatewayv2_api.this.id}.execute-api.${var.region}.amazonaws.com"
    custom_origin_config {
      http_port              = 80
      https_port             = 443
      origin_protocol_policy = "https-only"
      origin_ssl_protocols   = ["TLSv1.2"]
    }
  }

  default_cache_behavior {
    target_origin_id           = "api"
    viewer_protocol_policy     = "https-only"
    allowed_methods            = ["GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"]
    cached_methods             = ["GET", "HEAD"]
    cache_policy_id            = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad" # AWS's CachingDisabled
    origin_request_policy_id   = "b689b0a8-53d0-40ab-baf2-68738e2966ac" # AWS's AllViewerExceptHostHeader
    response_headers_policy_id = aws_cloudfront_response_headers_policy.this.id
  }

  logging_config {
    bucket          = var.log_bucket_domain
    include_cookies = false
    prefix          = "cloudfront/"
  }

  restrictions {
    geo_restriction {
      restriction_type = "none"
    }
  }

  viewer_certificate {
    cloudfront_default_certificate = !local.has_edge
    acm_certificate_arn            = local.has_edge ? aws_acm_certificate_validation.edge[0].certificate_arn : null
    ssl_support_method             = local.has_edge ? "sni-only" : null
    minimum_protocol_version       = local.has_edge ? "TLSv1.2_2021" : "TLSv1"
  }
}
