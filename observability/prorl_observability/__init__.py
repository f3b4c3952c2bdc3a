"""Alerts, recordings and dashboards over what components export: data, and what makes the chart's files of it."""
