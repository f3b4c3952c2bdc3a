"""The numbers that advice and alerts have in common. None of them is measured; each says why it is what it is."""

STEP_OVERDUE_TIMES = 5.0
"""Times the usual step without a new one: completions differ in length, but not by so much from step to step."""
STEP_OVERDUE_SECONDS = 600.0
"""Sooner nothing is said: an engine may be started again within this time."""
HEARTBEAT_SECONDS = 1800.0
"""`spec.learner.progressTimeoutSeconds` by default: a learner without progress for longer should have ended itself."""
FIRST_STEP_SECONDS = 7200.0
"""Until the first step: large models are loaded, compiled and validated first."""
ENTROPY_LEFT = 0.3
"""Share of a source's entropy at its start below which sampling has hardly any variety left."""
LEAST_SIGNAL = 0.5
"""Share of groups with a signal below which more than half of what is sampled is thrown away."""
MOST_TRUNCATED = 0.25
"""Share of completions cut at the limit above which what is learnt is to stop in time."""
VALIDATION_FALL = 0.03
"""Held-out accuracy below its best: three standard errors of some 250 prompts with 4 completions at 0.5."""
REWARD_RISE = 0.02
"""Sampled reward above what it was at the best validation."""
MISMATCH_SHARE = 0.5
"""Of `engineMismatch.maxLogprobDistance`, at which the run ends."""
MOST_MASKED = 0.1
"""Share of a source's rollouts without a verdict: a sandbox is ill, or the policy writes what cannot be judged."""
CHECKPOINT_OVERDUE_TIMES = 2.0
"""Times the interval that the spec asks for."""
