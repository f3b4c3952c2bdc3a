"""The closed sets of words a manifest may use. None of them is a YAML 1.1 boolean."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

IsolationLevel = Literal["process", "landlock", "namespaces"]
"""What contains model-written programs, the weakest first: docs/sandbox.md."""

Library = Literal["numpy", "sympy", "networkx", "sortedcontainers"]
"""What programs in Python may use besides the standard library: docs/code.md."""
Libraries = Annotated[tuple[Library, ...], Field(max_length=4)]
LIBRARIES: tuple[Library, ...] = ("numpy", "sympy", "networkx", "sortedcontainers")
"""All of them, which public sets of problems assume."""


class Domain(StrEnum):
    """What kind of verifier judges a source's completions."""

    MATH = "math"
    CODE = "code"
    STEM = "stem"
    LOGIC = "logic"
    INSTRUCTION_FOLLOWING = "instruction-following"
    CUSTOM = "custom"
    """A function of the user's own: `reward`."""


class AnswerFormat(StrEnum):
    """How the answer is found in a completion, before the verifier compares it."""

    TEXT = "text"
    """The whole completion, white space trimmed."""
    ANSWER_TAG = "answer-tag"
    """The content of the last `<answer>...</answer>`."""
    BOXED = "boxed"
    r"""The content of the last `\boxed{...}`."""
    FIRST_INTEGER = "first-integer"
    """The first integer in the completion, sign included."""
    LAST_INTEGER = "last-integer"
    """The last integer in the completion, sign included."""


class Precision(StrEnum):
    """Number format of weights and computation."""

    BFLOAT16 = "bfloat16"
    """bfloat16 weights with a float32 master copy in the optimizer."""
    FLOAT32 = "float32"


class EngineKind(StrEnum):
    """What trains the policy."""

    DEEPSPEED = "deepspeed"
    PLAIN = "plain"
    """PyTorch alone, one process: the numerical reference."""


class ReferencePlace(StrEnum):
    """Where the reference's weights lie. The numbers are the same."""

    RESIDENT = "resident"
    """A whole copy on each rank's device."""
    SHARDED = "sharded"
    """A part on each rank, gathered layer by layer during its pass, as the policy's are with `zeroStage: 3`."""
    OFFLOADED = "offloaded"
    """One place further away, on the device during its pass alone: in host memory where there is a GPU, else in a file
    on the disk."""


class RecomputeGranularity(StrEnum):
    """What gradient checkpointing computes again in the backward pass. The numbers are the same."""

    FULL = "full"
    """Each layer whole; of it its input is kept. Least memory, a third more time."""
    SELECTIVE = "selective"
    """What is cheap. Products of matrices and attention's outputs are kept: about four fifths of a layer's
    activations."""


class AdvantageKind(StrEnum):
    """How rewards of a group become advantages."""

    GRPO = "grpo"
    """(reward - group mean) / group standard deviation."""
    REINFORCE_PLUS_PLUS_BASELINE = "reinforce++-baseline"
    """(reward - group mean), then normalised over the whole batch."""
    MEAN_ONLY = "mean-only"
    """reward - group mean."""
    LEAVE_ONE_OUT = "leave-one-out"
    """reward - mean of the group's other rewards."""
    RAFT = "raft"
    """The reward itself, negative ones 0: fine-tuning on the policy's own right completions, with the clip RAFT++."""


class AdvantageScale(StrEnum):
    """Over what `reinforce++-baseline` normalises."""

    BATCH = "batch"
    """All rollouts of the batch."""
    SOURCE = "source"
    """Those of one source each: for rewards of different scales."""


class LossAggregation(StrEnum):
    """What the loss is an average of."""

    TOKEN_MEAN = "token-mean"
    """Over all loss tokens of the optimizer step (DAPO)."""
    SEQUENCE_MEAN = "sequence-mean"
    """Over completions of each completion's token mean (GRPO)."""


class KLEstimator(StrEnum):
    """Estimator of the KL divergence from policy to reference, per token. Schulman's k1, k2, k3."""

    K1 = "k1"
    K2 = "k2"
    K3 = "k3"


class MismatchCorrection(StrEnum):
    """What is done about the difference between rollout engine and learner log-probabilities."""

    NONE = "none"
    TIS = "tis"
    """Truncated importance sampling: weight min(old / rollout, cap)."""
    ICEPOP = "icepop"
    """Tokens whose ratio old / rollout leaves [floor, cap] are masked."""


class LengthPenalty(StrEnum):
    """Reward shaping by completion length."""

    NONE = "none"
    OVERLONG = "overlong"
    """DAPO's linear penalty in the last `bufferTokens` before the limit."""
    COSINE = "cosine"
    """ProRL v2's cosine schedule over the length, with an on/off cycle."""


class ResetMode(StrEnum):
    """Who decides that a proposed reset happens."""

    AUTOMATIC = "automatic"
    APPROVE = "approve"
    """Proposed and recorded; applied once a person approves."""
    DRY_RUN = "dry-run"
    """Recorded, never applied."""
    DISABLED = "disabled"


class ResetSource(StrEnum):
    """What the reference becomes."""

    CURRENT = "current"
    BEST = "best"
    """The policy with the best validation accuracy so far."""


class OptimizerAction(StrEnum):
    """What happens to the optimizer state at a reset."""

    CLEAR = "clear"
    """ProRL v1."""
    KEEP = "keep"
    """ProRL v2."""


class Role(StrEnum):
    """The kinds of member a run has."""

    LEARNER = "learner"
    ROLLOUT = "rollout"
    SANDBOX = "sandbox"
