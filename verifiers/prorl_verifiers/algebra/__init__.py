"""The second opinion on mathematics: a small reader and an exact comparison that share no code with math-verify."""
