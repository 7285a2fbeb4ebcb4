# The API's own name, and behind it the origin's, which leads to one region. It is people who let it lead to another: a region that
# fails over by itself would take payments while the first one still does, and no table refuses the second writer then.

locals {
  named    = var.domain != null
  has_edge = try(var.domain.has_edge, false)
  origin   = local.named ? "origin.${var.domain.name}" : ""
}

resource "aws_acm_certificate" "origin" {
  count             = local.named ? 1 : 0
  domain_name       = local.origin
  validation_method = "DNS"

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_acm_certificate" "edge" {
  count             = local.has_edge ? 1 : 0
  region            = local.edge
  domain_name       = var.domain.name
  validation_method = "DNS"

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_route53_record" "proof" {
  # Both regions prove the origin's name by the same record.
  for_each        = { for name, certificates in { origin = aws_acm_certificate.origin, edge = aws_acm_certificate.edge } : name => tolist(certificates[0].domain_validation_options)[0] if length(certificates) > 0 }
  zone_id         = var.domain.zone_id
  name            = each.value.resource_record_name
  type            = each.value.resource_record_type
  records         = [each.value.resource_record_value]
  ttl             = 300
  allow_overwrite = true
}

resource "aws_acm_certificate_validation" "origin" {
  count                   = local.named ? 1 : 0
  certificate_arn         = aws_acm_certificate.origin[0].arn
  validation_record_fqdns = [aws_route53_record.proof["origin"].fqdn]
}

resource "aws_acm_certificate_validation" "edge" {
  count                   = local.has_edge ? 1 : 0
  region                  = local.edge
  certificate_arn         = aws_acm_certificate.edge[0].arn
  validation_record_fqdns = [aws_route53_record.proof["edge"].fqdn]
}

resource "aws_apigatewayv2_domain_name" "origin" {
  count       = local.named ? 1 : 0
  domain_name = local.origin

  domain_name_configuration {
    certificate_arn = aws_acm_certificate_validation.origin[0].certificate_arn
    endpoint_type   = "REGIONAL"
    security_policy = "TLS_1_2"
  }
}

resource "aws_apigatewayv2_api_mapping" "origin" {
  count       = local.named ? 1 : 0
  api_id      = aws_apigatewayv2_api.this.id
  domain_name = aws_apigatewayv2_domain_name.origin[0].id
  stage       = aws_apigatewayv2_stage.this.id
}

# Of this region alone, whichever one the name leads to: that is why the API keeps the endpoint AWS gave it.
resource "aws_route53_health_check" "region" {
  fqdn              = "${aws_apigatewayv2_api.this.id}.execute-api.${var.region}.amazonaws.com"
  type              = "HTTPS"
  port              = 443
  resource_path     = "/readyz"
  failure_threshold = 3
  request_interval  = 10
  measure_latency   = true
}

resource "aws_route53_record" "origin" {
  count           = try(var.domain.leads_here, false) ? 1 : 0
  zone_id         = var.domain.zone_id
  name            = local.origin
  type            = "A"
  allow_overwrite = true

  alias {
    name                   = aws_apigatewayv2_domain_name.origin[0].domain_name_configuration[0].target_domain_name
    zone_id                = aws_apigatewayv2_domain_name.origin[0].domain_name_configuration[0].hosted_zone_id
    evaluate_target_health = false
  }
}

resource "aws_route53_record" "edge" {
  count   = local.has_edge ? 1 : 0
  zone_id = var.domain.zone_id
  name    = var.domain.name
  type    = "A"

  alias {
    name                   = aws_cloudfront_distribution.this.domain_name
    zone_id                = aws_cloudfront_distribution.this.hosted_zone_id
    evaluate_target_health = false
  }
}
