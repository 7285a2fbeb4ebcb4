# The whole platform in one region. A new function needs nothing here: every folder of src/lambdas with a function.yaml is deployed.

data "aws_caller_identity" "here" {}
data "aws_region" "here" {}

locals {
  root    = "${path.module}/../../../.."
  prefix  = "${var.name}-"
  account = data.aws_caller_identity.here.account_id
  region  = data.aws_region.here.region

  functions = { for file in fileset("${local.root}/src/lambdas", "*/function.yaml") :
  dirname(file) => yamldecode(file("${local.root}/src/lambdas/${file}")) }
  workflows = { for file in fileset("${local.root}/workflows", "*.asl.json") :
  trimsuffix(file, ".asl.json") => "${local.root}/workflows/${file}" }

  # Whose table, keys and secrets these are: another installation's, if this one takes over from it.
  data    = var.takes_over == "" ? var.name : var.takes_over
  taken   = var.takes_over != ""
  buckets = "${var.name}-${local.account}"
  # Region of a copy -> the platform's key there.
  copies = { for region in var.replica_regions : region => module.secrets.key_arns[region] }
  copied = toset(slice(var.replica_regions, 0, min(1, length(var.replica_regions))))

  # Names are known before anything is made, so that what refers to each other needs no order.
  lambda_arn  = "arn:aws:lambda:${local.region}:${local.account}:function:${local.prefix}"
  machine_arn = "arn:aws:states:${local.region}:${local.account}:stateMachine:${local.prefix}"

  places = {
    table         = module.table.arn
    stream        = module.table.stream_arn
    queue         = "arn:aws:sqs:${local.region}:${local.account}:${local.prefix}{name}"
    topic         = "arn:aws:sns:${local.region}:${local.account}:${local.prefix}{name}"
    blobs         = "${module.files.arn}/"
    bucket        = module.files.arn
    secrets       = module.secrets.prefix_arn
    logins        = "arn:aws:secretsmanager:${local.region}:${local.account}:secret:${var.name}/"
    key           = module.secrets.key_arn
    vault_key     = module.secrets.vault_key_arn
    schedules     = "arn:aws:scheduler:${local.region}:${local.account}:schedule/${var.name}/*"
    schedule_role = "arn:aws:iam::${local.account}:role/${var.name}-schedules"
    event_bus     = "arn:aws:events:${local.region}:${local.account}:event-bus/${var.name}"
    workflow      = "${local.machine_arn}{name}"
    executions    = "arn:aws:states:${local.region}:${local.account}:execution:${local.prefix}{name}"
    unprocessed   = module.unprocessed.arn
  }

  # As `AwsSettings` in config.py has them.
  aws = {
    region           = local.region
    table            = module.table.name
    stream           = module.table.stream_arn
    queues           = "https://sqs.${local.region}.amazonaws.com/${local.account}/${local.prefix}"
    bucket           = module.files.name
    secrets          = "${local.data}/"
    logins           = "${var.name}/"
    key              = module.secrets.key_arn
    vault_key        = module.secrets.vault_key_arn
    documents        = "interlock"
    documents_ca     = "/opt/python/documents-ca.pem"
    state_machines   = { for name, _ in local.workflows : name => "${local.machine_arn}${name}" }
    alarms           = "arn:aws:sns:${local.region}:${local.account}:${local.prefix}alarms"
    runbooks         = var.runbooks
    event_bus        = var.name
    schedules        = var.name
    schedules_target = "${local.lambda_arn}sweep:live"
    schedules_role   = "arn:aws:iam::${local.account}:role/${var.name}-schedules"
    # Schedules stay in their region, and would be lost with it.
    park = length(var.replica_regions) == 0 && !local.taken
    kafka = {
      bootstrap_servers = var.kafka.bootstrap_servers
      login             = var.kafka.login
      token_url         = var.kafka.token_url
      logical_cluster   = var.kafka.logical_cluster
      identity_pool     = var.kafka.identity_pool
    }
  }

  environment = {
    INTERLOCK_AWS       = jsonencode(local.aws)
    INTERLOCK_PROVIDERS = jsonencode(var.providers_settings)
    INTERLOCK_BASE_URL  = var.base_url
    INTERLOCK_LOG_LEVEL = var.log_level
  }

  network = { vpc = module.network.vpc, subnets = module.network.subnets, security_group = module.network.security_group }
}

module "secrets" {
  source          = "../secrets"
  prefix          = "${local.data}/"
  taken           = local.taken
  account         = local.account
  region          = local.region
  names           = var.provider_secrets
  replica_regions = var.replica_regions
}

module "network" {
  source   = "../network"
  name     = var.name
  region   = local.region
  cidr     = var.cidr
  zones    = var.zones
  log_days = var.log_days
  key_arn  = module.secrets.key_arn
}

module "table" {
  source              = "../table"
  name                = local.data
  taken               = local.taken
  indexes             = ["due", "clients", "webhook_deliveries", "webhook_deliveries_by_status", "desk_alerts", "desk_alerts_by_state"]
  key_arn             = module.secrets.key_arn
  replica_regions     = var.replica_regions
  key_arns            = local.copies
  deletion_protection = var.deletion_protection
}

module "queue" {
  source       = "../queue"
  for_each     = { notifications = { lease_s = 60, attempts_max = 25 }, webhooks = { lease_s = 120, attempts_max = 60 } }
  name         = "${local.prefix}${each.key}"
  lease_s      = each.value.lease_s
  attempts_max = each.value.attempts_max
  key_arn      = module.secrets.key_arn
}

module "unprocessed" {
  source       = "../queue"
  name         = "${local.prefix}unprocessed"
  lease_s      = 60
  attempts_max = 25
  key_arn      = module.secrets.key_arn
}

module "logs" {
  source      = "../bucket"
  name        = "${local.buckets}-logs"
  account     = local.account
  region      = local.region
  key_arn     = null
  is_log      = true
  log_bucket  = null
  lock_days   = 0
  expire_days = var.log_days
  replica     = null
}

module "files" {
  source      = "../bucket"
  name        = "${local.buckets}-files"
  account     = local.account
  region      = local.region
  key_arn     = module.secrets.key_arn
  is_log      = false
  log_bucket  = module.logs.name
  lock_days   = var.archive_lock_days
  expire_days = 0
  replica     = one([for region, one in module.files_copy : { region = region, bucket_arn = one.arn, key_arn = local.copies[region] }])
}

module "logs_copy" {
  source      = "../bucket"
  for_each    = local.copied
  name        = "${local.buckets}-logs-copy"
  account     = local.account
  region      = each.value
  key_arn     = null
  is_log      = true
  log_bucket  = null
  lock_days   = 0
  expire_days = var.log_days
  replica     = null
}

module "files_copy" {
  source      = "../bucket"
  for_each    = local.copied
  name        = "${local.buckets}-files-copy"
  account     = local.account
  region      = each.value
  key_arn     = local.copies[each.value]
  is_log      = false
  log_bucket  = module.logs_copy[each.value].name
  lock_days   = var.archive_lock_days
  expire_days = 0
  replica     = null
}

module "alarms_topic" {
  source      = "../topic"
  name        = "${local.prefix}alarms"
  account     = local.account
  key_arn     = module.secrets.key_arn
  subscribers = var.alarm_subscribers
}

module "bus" {
  source              = "../bus"
  name                = var.name
  account             = local.account
  key_arn             = module.secrets.key_arn
  archive_days        = var.log_days
  schedule_target_arn = "${local.lambda_arn}sweep:live"
}

module "kafka" {
  source            = "../kafka"
  prefix            = "${var.name}/"
  bootstrap_servers = var.kafka.bootstrap_servers
  private_service   = var.kafka.private_service
  key_arn           = module.secrets.key_arn
  network           = local.network
}

module "documentdb" {
  source              = "../documentdb"
  name                = var.name
  key_arn             = module.secrets.key_arn
  instances           = var.documents.instances
  instance_class      = var.documents.instance_class
  backup_days         = var.documents.backup_days
  deletion_protection = var.deletion_protection
  network             = local.network
}

resource "aws_lambda_layer_version" "this" {
  for_each                 = toset(["dependencies", "arrays"])
  layer_name               = "${local.prefix}${each.key}"
  filename                 = "${local.root}/build/lambdas/${each.key}-${var.architecture}.zip"
  source_code_hash         = try(filebase64sha256("${local.root}/build/lambdas/${each.key}-${var.architecture}.zip"), null)
  compatible_runtimes      = ["python3.11"]
  compatible_architectures = [var.architecture]
}

resource "aws_codedeploy_app" "functions" {
  name             = var.name
  compute_platform = "Lambda"
}

data "aws_iam_policy_document" "codedeploy" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["codedeploy.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "codedeploy" {
  name               = "${var.name}-codedeploy"
  assume_role_policy = data.aws_iam_policy_document.codedeploy.json
}

resource "aws_iam_role_policy_attachment" "codedeploy" {
  role       = aws_iam_role.codedeploy.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AWSCodeDeployRoleForLambdaLimited"
}

module "function" {
  source       = "../function"
  for_each     = local.functions
  name         = each.key
  active       = var.active
  description  = each.value
  prefix       = local.prefix
  region       = local.region
  architecture = var.architecture
  archives     = "${local.root}/build/lambdas"
  layers       = { for name, layer in aws_lambda_layer_version.this : name => layer.arn }
  environment  = local.environment
  places       = local.places
  network      = { subnets = module.network.subnets, security_group = module.network.security_group }
  kafka        = module.kafka.settings
  log_days     = var.log_days
  deployment   = { app = aws_codedeploy_app.functions.name, config = var.canary, role = aws_iam_role.codedeploy.arn }
}

module "workflow" {
  source    = "../workflow"
  for_each  = local.workflows
  name      = each.key
  prefix    = local.prefix
  file      = each.value
  functions = { for name, _ in local.functions : name => "${local.lambda_arn}${name}:live" }
  log_days  = var.log_days
  key_arn   = module.secrets.key_arn
  account   = local.account
  region    = local.region
}

module "api" {
  source   = "../api"
  name     = var.name
  region   = local.region
  document = jsondecode(file("${local.root}/openapi/interlock.json"))
  functions = { for name, one in module.function : name => {
    prefix = one.how.prefix, methods = try(one.how.methods, []), arn = one.arn, invoke_arn = one.invoke_arn, name = one.name
  } if one.trigger == "http" }
  authorizer        = { arn = module.function["authorizer"].arn, invoke_arn = module.function["authorizer"].invoke_arn, name = module.function["authorizer"].name }
  throttle          = var.throttle
  log_days          = var.log_days
  key_arn           = module.secrets.key_arn
  edge_key_arn      = module.secrets.key_arns["us-east-1"]
  log_bucket_domain = module.logs.domain
  domain            = var.domain
}

module "sftp" {
  source       = "../sftp"
  name         = "${local.prefix}files"
  bucket       = { name = module.files.name, arn = module.files.arn }
  key_arn      = module.secrets.key_arn
  log_days     = var.log_days
  account      = local.account
  region       = local.region
  network      = { vpc = module.network.vpc, public_subnets = module.network.public_subnets }
  users        = var.sftp_users
  sources      = var.sftp_sources
  workflow_arn = "${local.machine_arn}file_intake"
}

module "nightly" {
  source       = "../nightly"
  name         = var.name
  account      = local.account
  region       = local.region
  key_arn      = module.secrets.key_arn
  tenants      = var.tenants
  workflow_arn = "${local.machine_arn}nightly_ledger_verification"
  unprocessed  = module.unprocessed.arn
  active       = var.active
}

module "alarms" {
  source    = "../alarms"
  name      = var.name
  region    = local.region
  topic_arn = module.alarms_topic.arn
  alarms    = yamldecode(file("${local.root}/infra/alarms/alarms.yaml")).alarms
  runbooks  = var.runbooks
  names     = { prefix = local.prefix, table = module.table.name, api = module.api.id, documents = module.documentdb.identifier, name = var.name, machines = local.machine_arn }
}

module "recovery" {
  source      = "../recovery"
  name        = var.name
  key_arn     = module.secrets.key_arn
  resources   = [module.table.arn, module.files.arn]
  keep_days   = var.backup_days
  locked      = var.deletion_protection
  copies      = local.copies
  health_host = module.api.domain
}
