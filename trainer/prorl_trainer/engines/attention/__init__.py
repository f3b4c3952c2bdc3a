"""Attention within a pack in linear memory: `blocks` decides what is computed, `segments` and `varlen` compute it."""
