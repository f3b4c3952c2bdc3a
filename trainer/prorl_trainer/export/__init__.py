"""A run's policy as a folder that other programs load: weights, configuration, tokenizer, model card."""
