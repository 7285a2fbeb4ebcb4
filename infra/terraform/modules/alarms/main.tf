# Every alarm of the one list, its runbook in its description, and a dashboard of the same.

variable "name" { type = string }
variable "region" { type = string }
variable "topic_arn" { type = string }
variable "runbooks" { type = string }

variable "alarms" {
  description = "infra/alarms/alarms.yaml, decoded; dimensions may name what is in `names`."
  type        = any
}

variable "names" {
  description = "What stands for the names in braces."
  type        = map(string)
}

locals {
  alarms = { for one in var.alarms : one.name => merge(one, {
    dimensions = { for key, value in one.dimensions : key => replace(replace(replace(replace(replace(replace(value, "{prefix}", var.names.prefix), "{table}", var.names.table), "{api}", var.names.api), "{documents}", var.names.documents), "{name}", var.names.name), "{machines}", var.names.machines) }
  }) }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each            = local.alarms
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "${each.value.summary} Runbook: ${var.runbooks}/${each.key}.md"
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = startswith(each.value.statistic, "p") ? null : each.value.statistic
  extended_statistic  = startswith(each.value.statistic, "p") ? each.value.statistic : null
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  period              = each.value.period_s
  evaluation_periods  = each.value.periods
  treat_missing_data  = each.value.treat_missing
  alarm_actions       = [var.topic_arn]
  ok_actions          = [var.topic_arn]
  tags                = { severity = each.value.severity }
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name
  dashboard_body = jsonencode({
    widgets = concat(
      [{
        type       = "alarm", x = 0, y = 0, width = 24, height = 4
        properties = { title = "Alarms", alarms = [for one in aws_cloudwatch_metric_alarm.this : one.arn] }
      }],
      [for place, name in sort(keys(local.alarms)) : {
        type = "metric", x = place % 3 * 8, y = 4 + floor(place / 3) * 6, width = 8, height = 6
        properties = {
          title       = name
          region      = var.region
          stat        = local.alarms[name].statistic
          period      = local.alarms[name].period_s
          metrics     = [concat([local.alarms[name].namespace, local.alarms[name].metric], flatten([for key, value in local.alarms[name].dimensions : [key, value]]))]
          annotations = { horizontal = [{ label = "alarm", value = local.alarms[name].threshold }] }
        }
      }],
    )
  })
}

output "names" { value = [for one in aws_cloudwatch_metric_alarm.this : one.alarm_name] }
output "descriptions" { value = { for name, one in aws_cloudwatch_metric_alarm.this : name => one.alarm_description } }
