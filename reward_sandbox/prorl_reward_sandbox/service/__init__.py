"""The HTTP service: endpoints, readiness, and who judges which completion."""
