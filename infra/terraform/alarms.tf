# What `sluice build` wrote of the CloudFormation template's alarms, as it stands.

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = { for name, alarm in local.generated.alarms : name => alarm if try(local.conditions[alarm.Condition], true) }

  alarm_name                            = each.value.AlarmName
  alarm_description                     = try(each.value.AlarmDescription, null)
  namespace                             = try(each.value.Namespace, null)
  metric_name                           = try(each.value.MetricName, null)
  dimensions                            = { for dimension in try(each.value.Dimensions, []) : dimension.Name => dimension.Value }
  statistic                             = try(each.value.Statistic, null)
  extended_statistic                    = try(each.value.ExtendedStatistic, null)
  evaluate_low_sample_count_percentiles = try(each.value.EvaluateLowSampleCountPercentile, null)
  period                                = try(each.value.Period, null)
  evaluation_periods                    = each.value.EvaluationPeriods
  datapoints_to_alarm                   = try(each.value.DatapointsToAlarm, null)
  threshold                             = each.value.Threshold
  comparison_operator                   = each.value.ComparisonOperator
  treat_missing_data                    = try(each.value.TreatMissingData, null)
  alarm_actions                         = try(each.value.AlarmActions, [])
  ok_actions                            = try(each.value.OKActions, [])
  tags                                  = local.tags

  dynamic "metric_query" {
    for_each = try(each.value.Metrics, [])

    content {
      id          = metric_query.value.Id
      expression  = try(metric_query.value.Expression, null)
      label       = try(metric_query.value.Label, null)
      return_data = try(metric_query.value.ReturnData, null)
      period      = try(metric_query.value.Period, null)

      dynamic "metric" {
        for_each = try([metric_query.value.MetricStat], [])

        content {
          namespace   = metric.value.Metric.Namespace
          metric_name = metric.value.Metric.MetricName
          dimensions  = { for dimension in try(metric.value.Metric.Dimensions, []) : dimension.Name => dimension.Value }
          stat        = metric.value.Stat
          period      = metric.value.Period
        }
      }
    }
  }

  depends_on = [aws_sns_topic_policy.alerts]
}

resource "aws_cloudwatch_dashboard" "pipeline" {
  dashboard_name = local.prefix
  dashboard_body = local.generated.dashboard
}
