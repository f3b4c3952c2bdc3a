"""The logic verifier: reasoning-gym tasks, with the scorers that can be trusted and judges of our own."""
