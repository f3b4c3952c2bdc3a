"""Reference resets: when one is due, the life of its record, and what changes among the records."""
