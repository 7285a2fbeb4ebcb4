# What each word comes to. No provider: nothing is made.

variables {
  region = "eu-central-1"
  places = {
    table         = "arn:aws:dynamodb:eu-central-1:1:table/t"
    stream        = "arn:aws:dynamodb:eu-central-1:1:table/t/stream/s"
    queue         = "arn:aws:sqs:eu-central-1:1:i-{name}"
    topic         = "arn:aws:sns:eu-central-1:1:i-{name}"
    blobs         = "arn:aws:s3:::b/"
    bucket        = "arn:aws:s3:::b"
    secrets       = "arn:aws:secretsmanager:eu-central-1:1:secret:i/"
    logins        = "arn:aws:secretsmanager:eu-central-1:1:secret:i/"
    key           = "arn:aws:kms:eu-central-1:1:key/k"
    vault_key     = "arn:aws:kms:eu-central-1:1:key/v"
    schedules     = "arn:aws:scheduler:eu-central-1:1:schedule/i/*"
    schedule_role = "arn:aws:iam::1:role/s"
    event_bus     = "arn:aws:events:eu-central-1:1:event-bus/i"
    workflow      = "arn:aws:states:eu-central-1:1:stateMachine:i-{name}"
    executions    = "arn:aws:states:eu-central-1:1:execution:i-{name}"
    unprocessed   = "arn:aws:sqs:eu-central-1:1:i-unprocessed"
  }
}

run "a_name_reaches_the_resource" {
  variables { may = ["send queue webhooks"] }

  assert {
    condition = jsonencode(output.statements) == jsonencode([
      { Effect = "Allow", Action = ["sqs:SendMessage"], Resource = ["arn:aws:sqs:eu-central-1:1:i-webhooks"] },
      {
        Effect    = "Allow", Action = ["kms:Decrypt", "kms:GenerateDataKey"], Resource = ["arn:aws:kms:eu-central-1:1:key/k"]
        Condition = { StringEquals = { "kms:ViaService" = ["sqs.eu-central-1.amazonaws.com"] } }
      },
    ])
    error_message = jsonencode(output.statements)
  }
}

run "blobs_end_at_their_prefix" {
  variables { may = ["read blobs ledger/"] }

  assert {
    condition     = output.statements[0].Resource == ["arn:aws:s3:::b/ledger/*"] && output.statements[1].Condition.StringLike["s3:prefix"] == ["ledger/*"]
    error_message = jsonencode(output.statements)
  }
}

run "secrets_end_at_their_prefix" {
  variables { may = ["read secrets provider/"] }

  assert {
    condition     = output.statements[0].Resource == ["arn:aws:secretsmanager:eu-central-1:1:secret:i/provider/*"]
    error_message = jsonencode(output.statements)
  }
}

run "a_schedule_is_given_its_role_and_no_other" {
  variables { may = ["write schedules"] }

  assert {
    condition     = output.statements[1].Resource == ["arn:aws:iam::1:role/s"] && output.statements[1].Condition.StringEquals["iam:PassedToService"] == ["scheduler.amazonaws.com"]
    error_message = jsonencode(output.statements)
  }
}

run "the_way_out_allows_nothing_in_aws" {
  variables { may = ["call providers", "call anywhere"] }

  assert {
    condition     = output.statements == []
    error_message = jsonencode(output.statements)
  }
}

run "every_word_is_known_with_its_key" {
  variables { may = ["read table", "write table", "scan table", "read stream", "send queue a", "receive queue a", "publish topic a", "publish bus", "consume bus", "read documents", "write documents", "read blobs a/", "write blobs a/", "read secrets a", "write secrets a", "use vault", "put events", "write schedules", "start workflow a", "signal workflows", "call providers", "call anywhere"] }

  assert {
    condition     = output.words == toset([for one in var.may : join(" ", slice(split(" ", one), 0, 2))])
    error_message = jsonencode(output.words)
  }

  assert {
    condition     = !anytrue([for one in output.statements : anytrue([for action in one.Action : strcontains(action, "*")])])
    error_message = "an action is named whole"
  }
}
