"""The algorithm, readable like the paper: advantages, dynamic sampling, shaping, losses, packing, and their types."""
