"""One contained run at the level of processes: its user, folder, pipes, limits and end."""
