# DocumentDB: the read models. Whatever is in it can be made again from the table's histories.

variable "name" { type = string }
variable "key_arn" { type = string }
variable "instances" { type = number }
variable "instance_class" { type = string }
variable "backup_days" { type = number }
variable "deletion_protection" { type = bool }

variable "network" {
  type = object({ vpc = string, subnets = list(string), security_group = string })
}

# Where it answers, with user and password: of this region's servers, whose ever the table is.
resource "aws_secretsmanager_secret" "uri" {
  name                    = "${var.name}/documents/uri"
  kms_key_id              = var.key_arn
  recovery_window_in_days = 30
}

resource "aws_docdb_subnet_group" "this" {
  name       = var.name
  subnet_ids = var.network.subnets
}

resource "aws_docdb_cluster_parameter_group" "this" {
  name   = var.name
  family = "docdb5.0"

  parameter {
    name  = "tls"
    value = "enabled"
  }

  parameter {
    name  = "audit_logs"
    value = "enabled"
  }
}

resource "aws_security_group" "this" {
  name        = "${var.name}-documents"
  description = "DocumentDB: in from the functions."
  vpc_id      = var.network.vpc
}

resource "aws_vpc_security_group_ingress_rule" "this" {
  security_group_id            = aws_security_group.this.id
  description                  = "From the functions"
  ip_protocol                  = "tcp"
  from_port                    = 27017
  to_port                      = 27017
  referenced_security_group_id = var.network.security_group
}

resource "aws_docdb_cluster" "this" {
  cluster_identifier              = var.name
  engine                          = "docdb"
  engine_version                  = "5.0.0"
  master_username                 = "interlock"
  manage_master_user_password     = true
  storage_encrypted               = true
  kms_key_id                      = var.key_arn
  db_subnet_group_name            = aws_docdb_subnet_group.this.name
  db_cluster_parameter_group_name = aws_docdb_cluster_parameter_group.this.name
  vpc_security_group_ids          = [aws_security_group.this.id]
  backup_retention_period         = var.backup_days
  enabled_cloudwatch_logs_exports = ["audit", "profiler"]
  deletion_protection             = var.deletion_protection
  skip_final_snapshot             = false
  final_snapshot_identifier       = "${var.name}-final"
}

resource "aws_docdb_cluster_instance" "this" {
  count                      = var.instances
  identifier                 = "${var.name}-${count.index}"
  cluster_identifier         = aws_docdb_cluster.this.id
  instance_class             = var.instance_class
  auto_minor_version_upgrade = true
}

output "endpoint" { value = aws_docdb_cluster.this.endpoint }
output "identifier" { value = aws_docdb_cluster.this.cluster_identifier }
output "guards" {
  value = { protected = aws_docdb_cluster.this.deletion_protection, encrypted = aws_docdb_cluster.this.storage_encrypted }
}
