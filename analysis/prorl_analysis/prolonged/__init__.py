"""The toy world's prolonged run and its arms: what differs, what is kept of a run, and the page that says it."""
