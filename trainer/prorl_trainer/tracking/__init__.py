"""Telling experiment trackers every step of a run, each from a process of its own, so that none can stop training.

A tracker's process reads what the learner writes anyway, `metrics.jsonl` and the checkpoint that `CURRENT` names. It
imports neither torch nor anything of the learner's work: it may run in another environment, since trackers want other
versions of libraries than engines do.
"""
