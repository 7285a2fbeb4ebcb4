output "arn" { value = aws_lambda_alias.live.arn }
output "invoke_arn" { value = aws_lambda_alias.live.invoke_arn }
output "name" { value = aws_lambda_function.this.function_name }
output "trigger" { value = local.trigger }
output "how" { value = local.how }
output "statements" { value = module.permissions.statements }
output "policy" { value = aws_iam_role_policy.this.policy }
output "environment" { value = local.environment }
output "running" {
  value = {
    concurrency = aws_lambda_function.this.reserved_concurrent_executions
    mappings    = concat(aws_lambda_event_source_mapping.stream[*].enabled, aws_lambda_event_source_mapping.queue[*].enabled, aws_lambda_event_source_mapping.kafka[*].enabled)
    rules       = aws_cloudwatch_event_rule.schedule[*].state
  }
}
