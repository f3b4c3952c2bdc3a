"""The order of the page's charts, grouped by the question that they answer. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from prorl_cli.report.charts import (
    Chart,
    Plain,
    events,
    plain_chart,
    sampled_chart,
    speed_chart,
    time_chart,
    validation_chart,
)
from prorl_cli.report.loading import RunData
from prorl_cli.report.samples import Rewards


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Charts that answer one question."""

    title: str
    intro: str
    charts: tuple[Chart, ...]


REFERENCE = (
    Plain(
        title="KL to the reference",
        meaning="How far the policy has moved from the reference, per trained token. It grows while the model learns "
        "and falls to zero at a reset, or stays where a reference that follows keeps it; a sudden jump means that the "
        "policy is running away.",
        unit="KL (nats per token)",
        curves={"kl": "KL"},
        shown=".4g",
        trigger_metric="kl",
    ),
    Plain(
        title="KL term's share of the loss",
        meaning="How much of the loss is the pull back to the reference. Near 1 the reference stops the policy from "
        "learning more: the reason why ProRL resets it.",
        unit="share of the loss (0 to 1)",
        curves={"kl_loss_share": "KL share"},
        shown=".3g",
        trigger_metric="klLossShare",
    ),
)

STABILITY = (
    Plain(
        title="Entropy",
        meaning="How undecided the policy is between next tokens. A fall to zero is collapse: all samples of a prompt "
        "become alike and there is nothing left to learn from.",
        unit="entropy (nats per token)",
        curves={"entropy": "entropy"},
    ),
    Plain(
        title="Gradient norm",
        meaning="Size of the update before clipping. Single spikes are clipped away; a lasting rise is the first "
        "sign of divergence.",
        unit="global norm",
        curves={"gradient_norm": "gradient norm"},
        shown=".3g",
    ),
    Plain(
        title="Clipped tokens",
        meaning="Share of tokens whose probability moved further in one step than the clip allows. Zero throughout "
        "means one optimizer step a batch or a small learning rate; several per cent, that steps are too large.",
        unit="share of tokens",
        curves={"clip_fraction_low": "clipped from below", "clip_fraction_high": "clipped from above"},
        shown=".2%",
        ticks="~%",
    ),
)

DATA = (
    Plain(
        title="Groups that carry a signal",
        meaning="Share of sampled groups whose completions were not all judged alike; only these are trained on. "
        "It falls when prompts become too easy, or are too hard.",
        unit="share of groups (0 to 1)",
        curves={"groups_kept": "kept"},
        shown=".0%",
        bounded=True,
    ),
    Plain(
        title="Completion length",
        meaning="Mean length of sampled completions. Reasoning often grows with training; a jump to the limit is "
        "rambling, a collapse is guessing.",
        unit="tokens",
        curves={"completion_length": "length"},
        shown=".1f",
    ),
    Plain(
        title="Truncated completions",
        meaning="Share of completions cut at the limit, mostly without an answer. If it stays high, raise the limit "
        "or use a length penalty.",
        unit="share (0 to 1)",
        curves={"truncated": "truncated"},
        shown=".1%",
        bounded=True,
    ),
)

MACHINERY = (
    Plain(
        title="Learner against rollout engine",
        meaning="Mean difference between the two programs' log-probabilities of the same tokens. Small and flat is "
        "right; a jump means stale weights or unlike sampling settings.",
        unit="|Δ log-probability| (nats)",
        curves={"mismatch_logprob": "difference"},
        shown=".4f",
    ),
    Plain(
        title="Served weights that changed",
        meaning="Share of weight values that the last publish changed. Near zero in bfloat16, updates are too small "
        "to reach the rollout servers at all.",
        unit="share of weights",
        curves={"weights_changed": "changed"},
        shown=".2%",
        ticks="~%",
    ),
)


def sections(data: RunData, rewards: Rewards) -> tuple[Section, ...]:
    """Return all charts of a run."""
    timeline = events(data)

    def plain(rows: tuple[Plain, ...]) -> tuple[Chart, ...]:
        return tuple(plain_chart(data, timeline, row) for row in rows)

    return (
        Section(
            title="Is it learning?",
            intro="Accuracy on prompts it has never trained on, and on those it is training on.",
            charts=(validation_chart(data, timeline, rewards), sampled_chart(data, timeline)),
        ),
        Section(
            title="How far is it from the reference?",
            intro="ProRL ties the policy to a reference by a KL term, and moves the reference when it holds back.",
            charts=plain(REFERENCE),
        ),
        Section(
            title="Is training stable?",
            intro="Early signs of collapse and divergence, usually visible before accuracy suffers.",
            charts=plain(STABILITY),
        ),
        Section(
            title="Do the samples teach anything?",
            intro="Only groups with both better and worse completions have a gradient.",
            charts=plain(DATA),
        ),
        Section(
            title="Is the machinery sound?",
            intro="Learner and rollout servers are separate programs; these curves show that they agree.",
            charts=plain(MACHINERY),
        ),
        Section(
            title="Where does the time go?",
            intro="Wall time of every step by part, and the speed of both halves.",
            charts=(time_chart(data, timeline), speed_chart(data, timeline)),
        ),
    )
