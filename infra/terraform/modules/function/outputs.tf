output "arn" { value = aws_lambda_alias.live.arn }
output "invoke_arn" { value = aws_lambda_alias.live.invoke_arn }
output "name" { value = aws_lambda_function.this.function_name }
output "trigger" { value = local.trigger }
output "how" { value = local.how }
output "statements" { value = module.permissions.statements }
output "policy" { value = aws_iam_role_policy.this.policy }
output "environment" { value = local.environment }
