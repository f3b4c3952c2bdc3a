"""The one place that speaks to the Kubernetes API, and typed views of what it answers."""
