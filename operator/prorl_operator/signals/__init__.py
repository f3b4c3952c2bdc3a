"""Prometheus as the source of a job's signals: which may be asked, how, and for what. The brain reads the answers."""
