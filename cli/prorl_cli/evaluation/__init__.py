"""`prorl evaluate` and `prorl boundary`: many samples of held-out items, and what they say."""
