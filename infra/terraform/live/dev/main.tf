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
    tags = { installation = "interlock-dev" }
  }
}

module "platform" {
  source              = "../../modules/platform"
  name                = "interlock-dev"
  base_url            = "https://api.dev.interlock.example"
  cidr                = "10.20.0.0/16"
  zones               = 2
  log_days            = 14
  log_level           = "debug"
  backup_days         = 7
  deletion_protection = false
  archive_lock_days   = 0
  takes_over          = ""
  active              = !var.took_over
  replica_regions     = []
  domain              = var.domain
  throttle            = { rate = 50, burst = 100 }
  canary              = "CodeDeployDefault.LambdaAllAtOnce"
  documents           = { instances = 1, instance_class = "db.t4g.medium", backup_days = 7 }
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
