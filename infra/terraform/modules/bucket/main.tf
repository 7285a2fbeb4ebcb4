# A bucket nobody outside sees: encrypted, versioned, logged, over TLS only; archives cannot be taken away.

variable "name" { type = string }
variable "account" { type = string }
variable "region" { type = string }
variable "key_arn" { type = string }

variable "is_log" {
  description = "It takes the logs of other buckets, and keeps none of itself."
  type        = bool
}

variable "log_bucket" {
  description = "Where its access log goes, in its own region; null for a bucket of logs."
  type        = string
}

variable "lock_days" {
  description = "Nothing can be deleted or overwritten for so long; 0: it can."
  type        = number
}

variable "expire_days" {
  description = "Objects go after so long; 0: never."
  type        = number
}

variable "replica" {
  description = "Bucket in another region that gets everything; null: none."
  type        = object({ region = string, bucket_arn = string, key_arn = string })
}

resource "aws_s3_bucket" "this" {
  region              = var.region
  bucket              = var.name
  object_lock_enabled = var.lock_days > 0
}

resource "aws_s3_bucket_public_access_block" "this" {
  region                  = var.region
  bucket                  = aws_s3_bucket.this.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "this" {
  region = var.region
  bucket = aws_s3_bucket.this.id
  rule {
    # CloudFront writes its log with an ACL; nothing else may.
    object_ownership = var.is_log ? "BucketOwnerPreferred" : "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_versioning" "this" {
  region = var.region
  bucket = aws_s3_bucket.this.id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  region = var.region
  bucket = aws_s3_bucket.this.id
  rule {
    bucket_key_enabled = !var.is_log
    apply_server_side_encryption_by_default {
      # S3 delivers its logs to no bucket with a key of ours.
      sse_algorithm     = var.is_log ? "AES256" : "aws:kms"
      kms_master_key_id = var.is_log ? null : var.key_arn
    }
  }
}

resource "aws_s3_bucket_object_lock_configuration" "this" {
  count  = var.lock_days > 0 ? 1 : 0
  region = var.region
  bucket = aws_s3_bucket.this.id
  rule {
    default_retention {
      mode = "COMPLIANCE"
      days = var.lock_days
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  region = var.region
  bucket = aws_s3_bucket.this.id

  rule {
    id     = "half-uploads"
    status = "Enabled"
    filter {}
    abort_incomplete_multipart_upload {
      days_after_initiation = 2
    }
    noncurrent_version_expiration {
      noncurrent_days = 90
    }
  }

  rule {
    id     = "expire"
    status = var.expire_days > 0 ? "Enabled" : "Disabled"
    filter {}
    expiration {
      days = max(var.expire_days, 1)
    }
  }
}

resource "aws_s3_bucket_logging" "this" {
  count         = var.is_log ? 0 : 1
  region        = var.region
  bucket        = aws_s3_bucket.this.id
  target_bucket = var.log_bucket
  target_prefix = "s3/${var.name}/"
}

resource "aws_s3_bucket_notification" "this" {
  region      = var.region
  bucket      = aws_s3_bucket.this.id
  eventbridge = true
}

data "aws_iam_policy_document" "this" {
  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.this.arn, "${aws_s3_bucket.this.arn}/*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }

  dynamic "statement" {
    for_each = var.is_log ? [1] : []
    content {
      sid       = "LogsOfThisAccountsBuckets"
      actions   = ["s3:PutObject"]
      resources = ["${aws_s3_bucket.this.arn}/s3/*"]
      principals {
        type        = "Service"
        identifiers = ["logging.s3.amazonaws.com"]
      }
      condition {
        test     = "StringEquals"
        variable = "aws:SourceAccount"
        values   = [var.account]
      }
    }
  }
}

resource "aws_s3_bucket_policy" "this" {
  region = var.region
  bucket = aws_s3_bucket.this.id
  policy = data.aws_iam_policy_document.this.json
}

resource "aws_s3_bucket_replication_configuration" "this" {
  count  = var.replica == null ? 0 : 1
  region = var.region
  bucket = aws_s3_bucket.this.id
  role   = aws_iam_role.copy[0].arn

  rule {
    id     = "everything"
    status = "Enabled"
    filter {}
    delete_marker_replication {
      status = "Disabled"
    }
    source_selection_criteria {
      sse_kms_encrypted_objects {
        status = "Enabled"
      }
    }
    destination {
      bucket        = var.replica.bucket_arn
      storage_class = "STANDARD_IA"
      encryption_configuration {
        replica_kms_key_id = var.replica.key_arn
      }
    }
  }

  depends_on = [aws_s3_bucket_versioning.this]
}

# -- the copy in another region

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["s3.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account]
    }
  }
}

resource "aws_iam_role" "copy" {
  count              = var.replica == null ? 0 : 1
  name               = "${var.name}-copy"
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

resource "aws_iam_role_policy" "copy" {
  count = var.replica == null ? 0 : 1
  name  = "copy"
  role  = aws_iam_role.copy[0].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      { Effect = "Allow", Action = ["s3:GetReplicationConfiguration", "s3:ListBucket", "s3:GetBucketObjectLockConfiguration"], Resource = [aws_s3_bucket.this.arn] },
      { Effect = "Allow", Action = ["s3:GetObjectVersionForReplication", "s3:GetObjectVersionAcl", "s3:GetObjectVersionTagging", "s3:GetObjectRetention", "s3:GetObjectLegalHold"], Resource = ["${aws_s3_bucket.this.arn}/*"] },
      { Effect = "Allow", Action = ["s3:ReplicateObject", "s3:ReplicateTags"], Resource = ["${var.replica.bucket_arn}/*"] },
      { Effect = "Allow", Action = ["kms:Decrypt"], Resource = [var.key_arn], Condition = { StringEquals = { "kms:ViaService" = ["s3.${var.region}.amazonaws.com"] } } },
      { Effect = "Allow", Action = ["kms:Encrypt", "kms:GenerateDataKey"], Resource = [var.replica.key_arn], Condition = { StringEquals = { "kms:ViaService" = ["s3.${var.replica.region}.amazonaws.com"] } } },
    ]
  })
}

output "arn" { value = aws_s3_bucket.this.arn }
output "name" { value = aws_s3_bucket.this.id }
output "domain" { value = aws_s3_bucket.this.bucket_domain_name }
output "guards" {
  value = {
    closed = alltrue([aws_s3_bucket_public_access_block.this.block_public_acls, aws_s3_bucket_public_access_block.this.block_public_policy, aws_s3_bucket_public_access_block.this.ignore_public_acls, aws_s3_bucket_public_access_block.this.restrict_public_buckets])
    locked = length(aws_s3_bucket_object_lock_configuration.this) == 1
  }
}
