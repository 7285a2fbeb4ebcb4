# What the platform promises, whoever changes it: planned with a provider that makes nothing.

mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_region" {
    defaults = { region = "eu-central-1" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
  mock_data "aws_dynamodb_table" {
    defaults = { arn = "arn:aws:dynamodb:eu-central-1:123456789012:table/interlock-lost", stream_arn = "arn:aws:dynamodb:eu-central-1:123456789012:table/interlock-lost/stream/1" }
  }
  mock_data "aws_kms_alias" {
    defaults = { target_key_arn = "arn:aws:kms:eu-central-1:123456789012:key/copy" }
  }
  mock_resource "aws_dynamodb_table" {
    defaults = { arn = "arn:aws:dynamodb:eu-central-1:123456789012:table/interlock-test", stream_arn = "arn:aws:dynamodb:eu-central-1:123456789012:table/interlock-test/stream/1" }
  }
  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:eu-central-1:123456789012:key/1" }
  }
  mock_resource "aws_s3_bucket" {
    defaults = { arn = "arn:aws:s3:::interlock-test-files", id = "interlock-test-files" }
  }
  mock_resource "aws_acm_certificate" {
    defaults = { arn = "arn:aws:acm:eu-central-1:123456789012:certificate/1", domain_validation_options = [{ resource_record_name = "_1.example", resource_record_type = "CNAME", resource_record_value = "_2.example" }] }
  }
  mock_resource "aws_sqs_queue" {
    defaults = { arn = "arn:aws:sqs:eu-central-1:123456789012:queue", url = "https://sqs.eu-central-1.amazonaws.com/123456789012/queue" }
  }
  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:eu-central-1:123456789012:log-group:group" }
  }
  mock_resource "aws_lambda_alias" {
    defaults = { arn = "arn:aws:lambda:eu-central-1:123456789012:function:f:live", invoke_arn = "arn:aws:apigateway:eu-central-1:lambda:path/2015-03-31/functions/f/invocations" }
  }
  mock_resource "aws_apigatewayv2_api" {
    defaults = { id = "api1", execution_arn = "arn:aws:execute-api:eu-central-1:123456789012:api1" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/r" }
  }
}

variables {
  name                = "interlock-test"
  base_url            = "https://api.test.interlock.example"
  cidr                = "10.0.0.0/16"
  zones               = 2
  log_days            = 30
  log_level           = "info"
  backup_days         = 14
  deletion_protection = true
  archive_lock_days   = 3650
  replica_regions     = ["eu-west-1"]
  takes_over          = ""
  active              = true
  domain              = { name = "api.test.interlock.example", zone_id = "Z1", has_edge = true, leads_here = true }
  throttle            = { rate = 100, burst = 200 }
  canary              = "CodeDeployDefault.LambdaCanary10Percent5Minutes"
  documents           = { instances = 1, instance_class = "db.t4g.medium", backup_days = 14 }
  kafka = {
    bootstrap_servers = "pkc-1.eu-central-1.aws.confluent.cloud:9092", login = "api_key", token_url = ""
    logical_cluster   = "", identity_pool = "", private_service = ""
  }
  providers_settings = [{ name = "stripe", kind = "stripe", base_url = "https://api.stripe.com" }]
  provider_secrets   = ["provider/stripe/api_key"]
  sftp_users         = { bank = ["ssh-ed25519 AAAA"] }
  tenants            = ["ten_1", "ten_2"]
  sftp_sources       = ["192.0.2.0/24"]
  alarm_subscribers  = { email = ["oncall@interlock.example"] }
  runbooks           = "https://interlock.example/docs/operations/alarms"
}

run "promises" {
  command = apply

  assert {
    condition     = toset(keys(output.functions)) == toset([for file in fileset("${path.module}/../../../../src/lambdas", "*/function.yaml") : dirname(file)])
    error_message = "every folder with a function.yaml is a function, and nothing else is"
  }

  assert {
    condition     = alltrue([for policy in values(output.policies) : alltrue([for one in jsondecode(policy).Statement : alltrue([for action in flatten([one.Action]) : !endswith(action, ":*") && action != "*"])])])
    error_message = "no function may do everything of anything"
  }

  assert {
    # Task tokens, traces and network interfaces have no names that a policy could say.
    condition = alltrue([for statements in values(output.statements) : alltrue([for one in statements : !contains(one.Resource, "*") || length(setsubtract(one.Action, [
      "states:SendTaskSuccess", "states:SendTaskFailure", "xray:PutTraceSegments", "xray:PutTelemetryRecords", "ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces",
      "ec2:DeleteNetworkInterface", "ec2:DescribeSubnets", "ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses", "ec2:DescribeVpcs", "ec2:DescribeSecurityGroups",
    ])) == 0])])
    error_message = "what a function may is allowed on named resources, where AWS has names"
  }

  assert {
    condition = alltrue([for name, variables in output.environments : contains(variables, "INTERLOCK_PROVIDERS") == anytrue(
    [for one in output.statements[name] : anytrue([for place in one.Resource : strcontains(place, "/provider/")])])])
    error_message = "whoever is told of providers may read their credentials, and nobody else"
  }

  assert {
    condition     = alltrue([for name, statements in output.statements : alltrue([for one in statements : !contains(one.Action, "dynamodb:DeleteItem") || try(one.Condition["ForAllValues:StringLike"]["dynamodb:LeadingKeys"], null) == ["i/*"]])])
    error_message = "no function deletes what happened"
  }

  assert {
    condition     = toset([for name, statements in output.statements : name if anytrue([for one in statements : anytrue([for action in one.Action : startswith(action, "kms:")]) && !can(one.Condition.StringEquals["kms:ViaService"])])]) == toset(["deliver_webhook", "http_api", "http_desk"])
    error_message = "the platform's key is used through the services that keep what it encrypts; the vaults' by who makes endpoints and sources of alerts, and who signs"
  }

  assert {
    condition     = alltrue([for one in output.statements["on_payment_event"] : !contains(one.Action, "sqs:SendMessage") || alltrue([for place in one.Resource : startswith(place, "arn:aws:sqs:")])]) && anytrue([for one in output.statements["on_payment_event"] : one.Resource == [output.places.unprocessed]])
    error_message = "the mapping of Kafka may put aside what it gives up"
  }

  assert {
    condition     = output.firewall.counts == ["SizeRestrictions_BODY"] && output.firewall.region == "us-east-1"
    error_message = "CloudFront's firewall stands where CloudFront looks for it, and lets long notifications through"
  }

  assert {
    condition     = jsonencode(output.nightly) == jsonencode({ for tenant in ["ten_1", "ten_2"] : tenant => { tenant = tenant, at = "<aws.scheduler.scheduled-time>" } })
    error_message = "every tenant's ledger is proved each night"
  }

  assert {
    condition     = !anytrue([for one in output.statements["http_notifications"] : contains(one.Action, "secretsmanager:PutSecretValue")])
    error_message = "a function that only reads secrets writes none"
  }

  assert {
    condition     = output.routes["POST /v1/notifications/{provider}"].function == "http_notifications" && output.routes["POST /v1/notifications/{provider}"].is_open
    error_message = "providers have a signature and no token"
  }

  assert {
    condition     = alltrue([for key, one in output.routes : one.is_open == !(can(regex(" /v1/(payments|refunds|balances|ledger|disputes|events|webhook|routing|desk|slos|graphql|alert)", key)) && !can(regex(" /v1/alerts/in/", key)))])
    error_message = "whatever is about payments is behind the authoriser; tools that send alerts have a proof of their own"
  }

  assert {
    condition     = { for key, one in output.routes : key => one.is_open if one.function == "http_desk" } == { for one in setproduct(["GET", "HEAD", "POST"], ["/console", "/console/{proxy+}"]) : "${one[0]} ${one[1]}" => true }
    error_message = "everything under /console is the desk's, which knows people by their cookies"
  }

  assert {
    condition     = alltrue([for one in output.statements["http_desk"] : !contains(one.Action, "sqs:ReceiveMessage") || alltrue([for place in one.Resource : endswith(place, "-dead")])])
    error_message = "the desk takes no message but dead ones"
  }

  assert {
    condition     = !contains(keys(output.routes), "GET /metrics")
    error_message = "metrics stay inside"
  }

  assert {
    condition     = toset(keys(output.workflows)) == toset([for file in fileset("${path.module}/../../../../workflows", "*.asl.json") : trimsuffix(file, ".asl.json")])
    error_message = "every definition is a state machine"
  }

  assert {
    condition     = alltrue([for name, text in output.alarm_descriptions : endswith(text, "Runbook: https://interlock.example/docs/operations/alarms/${name}.md")])
    error_message = "every alarm says where its runbook is"
  }
}

run "safe_to_lose_nothing" {
  command = apply

  assert {
    condition     = output.guards.table_protected && output.guards.table_recoverable && output.guards.table_encrypted
    error_message = "the table cannot be deleted by mistake, goes back to any second of 35 days, and is encrypted with our key"
  }

  assert {
    condition     = output.guards.buckets_closed && output.guards.archives_locked && output.guards.copies_locked && output.guards.copies == 1
    error_message = "no bucket is public, and archives and their copies cannot be taken away"
  }

  assert {
    condition     = output.guards.documents_protected && output.guards.documents_encrypted
    error_message = "so is DocumentDB"
  }

  assert {
    condition     = alltrue([for one in values(output.queues) : endswith(one.dead, "-dead")])
    error_message = "every queue has its dead letters"
  }
}

run "a_region_that_stands_by_works_on_copies_and_runs_nothing" {
  command = apply

  variables {
    name            = "interlock-standby"
    takes_over      = "interlock-lost"
    active          = false
    replica_regions = []
    domain          = { name = "api.test.interlock.example", zone_id = "Z1", has_edge = false, leads_here = false }
  }

  assert {
    condition     = output.places.table == "arn:aws:dynamodb:eu-central-1:123456789012:table/interlock-lost" && endswith(output.places.secrets, ":secret:interlock-lost/") && endswith(output.places.logins, ":secret:interlock-standby/") && endswith(output.places.key, ":key/copy")
    error_message = "table, secrets and keys are the lost installation's, the logins its own: they are of this region's servers"
  }

  assert {
    condition     = output.running.concurrency == toset([0]) && output.running.mappings == toset([false]) && output.running.rules == toset(["DISABLED"]) && output.running.nightly == toset(["DISABLED"])
    error_message = "nothing runs before somebody says that the other region does not"
  }
}
