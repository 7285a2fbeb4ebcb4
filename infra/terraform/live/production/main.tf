# Numbers only: what there is, is in modules/platform.

terraform {
  required_version = ">= 1.11"
  # Bucket and region: terraform init -backend-config=bucket=... -backend-config=region=...
  backend "s3" {
    key          = "interlock.tfstate"
    encrypt      = true
    use_lockfile = true
  }
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.0"
    }
  }
}

provider "aws" {
  region = "eu-central-1"
  default_tags {
    tags = { installation = "interlock-production" }
  }
}

module "platform" {
  source              = "../../modules/platform"
  name                = "interlock-production"
  base_url            = "https://api.production.interlock.example"
  cidr                = "10.40.0.0/16"
  zones               = 3
  log_days            = 400
  log_level           = "info"
  backup_days         = 35
  deletion_protection = true
  archive_lock_days   = 3650
  takes_over          = ""
  active              = !var.took_over
  replica_regions     = ["eu-west-1"]
  domain              = var.domain
  throttle            = { rate = 2000, burst = 4000 }
  canary              = "CodeDeployDefault.LambdaCanary10Percent10Minutes"
  documents           = { instances = 3, instance_class = "db.r6g.large", backup_days = 35 }
  kafka               = var.kafka
  providers_settings  = var.providers_settings
  provider_secrets    = var.provider_secrets
  tenants             = var.tenants
  sftp_users          = var.sftp_users
  sftp_sources        = var.sftp_sources
  alarm_subscribers   = var.alarm_subscribers
  runbooks            = var.runbooks
}

output "platform" { value = module.platform }
