# The one table, as `backends/aws/table.py` defines it; a test compares the two.

variable "name" { type = string }
variable "indexes" { type = list(string) }
variable "key_arn" { type = string }
variable "replica_regions" { type = list(string) }

variable "key_arns" {
  description = "Region -> ARN of the key there, for the replicas."
  type        = map(string)
  default     = {}
}

variable "deletion_protection" { type = bool }

variable "taken" {
  description = "It is here already, as a replica of another region's table."
  type        = bool
  default     = false
}

resource "aws_dynamodb_table" "this" {
  count          = var.taken ? 0 : 1
  name           = var.name
  billing_mode   = "PAY_PER_REQUEST"
  hash_key       = "pk"
  range_key      = "sk"
  stream_enabled = true
  # A replicated table's stream has had to show both images; the relay reads the new one.
  stream_view_type            = length(var.replica_regions) == 0 ? "NEW_IMAGE" : "NEW_AND_OLD_IMAGES"
  deletion_protection_enabled = var.deletion_protection

  dynamic "attribute" {
    for_each = concat(["pk", "sk"], flatten([for one in var.indexes : ["${one}_p", "${one}_s"]]))
    content {
      name = attribute.value
      type = "S"
    }
  }

  # Sparse: what has not an index's two keys is not in it.
  dynamic "global_secondary_index" {
    for_each = var.indexes
    content {
      name            = "by-${global_secondary_index.value}"
      hash_key        = "${global_secondary_index.value}_p"
      range_key       = "${global_secondary_index.value}_s"
      projection_type = "KEYS_ONLY"
    }
  }

  ttl {
    attribute_name = "ttl"
    enabled        = true
  }

  point_in_time_recovery {
    enabled = true
  }

  server_side_encryption {
    enabled     = true
    kms_key_arn = var.key_arn
  }

  dynamic "replica" {
    for_each = var.replica_regions
    content {
      region_name                 = replica.value
      kms_key_arn                 = var.key_arns[replica.value]
      point_in_time_recovery      = true
      deletion_protection_enabled = var.deletion_protection
    }
  }
}

data "aws_dynamodb_table" "taken" {
  count = var.taken ? 1 : 0
  name  = var.name
}

locals {
  table = {
    arn        = one(concat(data.aws_dynamodb_table.taken[*].arn, aws_dynamodb_table.this[*].arn))
    name       = one(concat(data.aws_dynamodb_table.taken[*].name, aws_dynamodb_table.this[*].name))
    stream_arn = one(concat(data.aws_dynamodb_table.taken[*].stream_arn, aws_dynamodb_table.this[*].stream_arn))
  }
}

output "arn" { value = local.table.arn }
output "name" { value = local.table.name }
output "stream_arn" { value = local.table.stream_arn }
output "guards" {
  value = var.taken ? null : {
    protected   = aws_dynamodb_table.this[0].deletion_protection_enabled
    recoverable = aws_dynamodb_table.this[0].point_in_time_recovery[0].enabled
    encrypted   = aws_dynamodb_table.this[0].server_side_encryption[0].enabled
  }
}
output "shape" {
  description = "For the test that holds this against the platform's own definition."
  value = var.taken ? null : {
    attributes = sort([for one in aws_dynamodb_table.this[0].attribute : one.name])
    indexes    = { for one in aws_dynamodb_table.this[0].global_secondary_index : one.name => [one.hash_key, one.range_key, one.projection_type] }
    keys       = [aws_dynamodb_table.this[0].hash_key, aws_dynamodb_table.this[0].range_key]
    stream     = aws_dynamodb_table.this[0].stream_view_type
    ttl        = aws_dynamodb_table.this[0].ttl[0].attribute_name
  }
}
