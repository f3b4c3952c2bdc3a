"""One run: does it learn, is it about to go wrong, what did each reset do, where does the time go."""

from __future__ import annotations

from prorl_api.metrics import STEP_PARTS
from prorl_observability.panels import INTERVAL, OF_RUN, Board, Kind, Mark, Needs, Panel, Query, Row, Variable
from prorl_observability.recordings import of_jobs

_OF_OPERATOR = '{prorl_namespace="$namespace", prorl_job="$job"}'
_GPU_MEMORY = of_jobs("DCGM_FI_DEV_FB_USED", job="$job", namespace="$namespace")
"""MiB."""


def newest(metric: str, legend: str, **fields: object) -> Query:
    """Return a learner's gauge, whatever stage and attempt it is of."""
    return Query(expr=f"max(prorl_learner_{metric}{OF_RUN})", legend=legend, **fields)  # type: ignore[arg-type]


def each_source(metric: str, **fields: object) -> Query:
    """Return a learner's gauge by source."""
    expr = f"max by (source) (prorl_learner_{metric}{OF_RUN})"
    return Query(expr=expr, legend="{{source}}", **fields)  # type: ignore[arg-type]


def bounds(metric: str) -> Query:
    """Return the bounds that triggers have on a metric."""
    selector = OF_RUN.removesuffix("}") + f', metric="{metric}"}}'
    expr = f"max by (trigger) (prorl_learner_kl_bound{selector})"
    return Query(expr=expr, legend="bound of {{trigger}}", needs=Needs.BOUNDS, is_bound=True)


LEARNING = Row(
    title="Does it learn?",
    panels=(
        Panel(
            title="Steps",
            look_for="The step moves towards the last one; if it stands still, see the time since the newest step "
            "below.",
            queries=(newest("step", "done"), newest("steps_wanted", "wanted")),
            kind=Kind.NUMBER,
            width=4,
        ),
        Panel(
            title="Since the newest step",
            look_for="It falls to zero with each step; far above the usual step time, something that the step "
            "waits for does not answer.",
            queries=(
                Query(expr=f"max(prorl:step_age:seconds{OF_RUN})", legend="since the newest step"),
                newest("step_usual_seconds", "usual step"),
            ),
            unit="s",
            kind=Kind.NUMBER,
            width=4,
        ),
        Panel(
            title="Reward",
            look_for="It rises over hundreds of steps; if it rises while validation falls, the verifier is being "
            "gamed.",
            queries=(
                newest("reward_mean", "sampled, before dynamic sampling"),
                newest("reward_shaped_mean", "trained, after length shaping"),
                each_source("reward_sampled"),
            ),
        ),
        Panel(
            title="Validation",
            look_for="It rises, and goes on rising after a reset (red lines); a fall from the best on two "
            "validations in a row is no noise.",
            queries=(
                newest("validation_newest", "all sources", needs=Needs.VALIDATION),
                each_source("validation_source_newest", needs=Needs.VALIDATION),
                newest("validation_best", "best so far", needs=Needs.VALIDATION, is_bound=True),
            ),
        ),
        Panel(
            title="Accuracy of sampled completions, by source",
            look_for="Each source moves: one at 1 is mastered and one at 0 too hard, and neither gives a signal.",
            queries=(each_source("accuracy_sampled"),),
            most=1.0,
        ),
        Panel(
            title="Groups with a signal",
            look_for="It stays above half; below, most of what is sampled is thrown away because all of a group is "
            "right or wrong.",
            queries=(
                newest("groups_kept_ratio", "newest step"),
                newest("groups_kept_recent_ratio", "last 10 steps", needs=Needs.LONG_RUN),
            ),
            unit="percentunit",
            most=1.0,
        ),
        Panel(
            title="Rollouts without a verdict, by source",
            look_for="It is near zero; a rise of one source means an ill sandbox, or answers that escape being judged.",
            queries=(each_source("rollouts_masked_recent_ratio", needs=Needs.LONG_RUN),),
            unit="percentunit",
        ),
    ),
)
KL = Row(
    title="How far from the reference?",
    panels=(
        Panel(
            title="KL to the reference",
            look_for="It climbs, and falls back to zero at each reset; above a trigger's bound for long, a reset "
            "is due.",
            queries=(
                newest("kl_nats", "KL a token"),
                newest("kl_long_nats", "mean of 50 steps", needs=Needs.LONG_RUN),
                bounds("kl"),
            ),
            unit="nats",
        ),
        Panel(
            title="KL's share of the loss",
            look_for="The nearer to 1, the more the reference holds the policy back: ProRL's reason to reset it.",
            queries=(
                newest("kl_loss_share_ratio", "share"),
                newest("kl_loss_share_long_ratio", "mean of 50 steps", needs=Needs.LONG_RUN),
                bounds("kl_loss_share"),
            ),
            unit="percentunit",
            most=1.0,
        ),
        Panel(
            title="Resets applied",
            look_for="Each stair is one reset; `prorl resets list` or `kubectl get prr` tells its evidence.",
            queries=(newest("resets_total", "resets"),),
        ),
    ),
)
EXPLORATION = Row(
    title="Does it still explore?",
    panels=(
        Panel(
            title="Entropy",
            look_for="It may fall slowly; a source that falls below a third of its start has collapsed.",
            queries=(newest("entropy_nats", "trained tokens"), each_source("entropy_sampled_nats")),
            unit="nats",
        ),
        Panel(
            title="Length of completions",
            look_for="It may grow with reasoning; a jump together with truncation means that answers no longer end.",
            queries=(newest("completion_length_tokens", "mean"),),
            unit="tokens",
        ),
        Panel(
            title="Completions cut at the limit",
            look_for="It stays below a quarter; above, what is learnt is to stop in time.",
            queries=(
                newest("truncated_ratio", "newest step"),
                newest("truncated_recent_ratio", "last 10 steps", needs=Needs.LONG_RUN),
            ),
            unit="percentunit",
            most=1.0,
        ),
    ),
)
OPTIMIZATION = Row(
    title="Are the updates sound?",
    panels=(
        Panel(
            title="Clipped tokens",
            look_for="A few percent; much more means that the policy moves too far within one batch.",
            queries=tuple(newest(f"clip_fraction_{side}_ratio", side) for side in ("low", "high", "dual")),
            unit="percentunit",
        ),
        Panel(
            title="Engine against learner",
            look_for="It is flat and far below the bound at which the run ends; a rise means that the two compute "
            "different models.",
            queries=(
                newest("mismatch_logprob_nats", "mean difference of log-probabilities"),
                newest("mismatch_masked_ratio", "share of tokens cut or masked"),
                newest("mismatch_bound_nats", "bound", is_bound=True),
            ),
            unit="nats",
        ),
        Panel(
            title="Gradient norm",
            look_for="It is steady; spikes that grow come before divergence.",
            queries=(newest("gradient_norm", "before clipping"),),
        ),
        Panel(
            title="Learning rate",
            look_for="It is what the schedule says; after a reset that clears the optimizer it warms up again.",
            queries=(newest("learning_rate", "rate"),),
            unit="sci",
        ),
        Panel(
            title="Loss",
            look_for="Its two terms are of comparable size at most; its level itself says little in policy gradients.",
            queries=(newest("policy_loss", "surrogate"), newest("kl_loss", "KL term")),
            least=None,
        ),
        Panel(
            title="What was skipped",
            look_for="All are zero nearly always; minibatches that are not finite in a row end the run.",
            queries=(
                newest("minibatches_skipped", "minibatches not finite"),
                newest("samplings_empty", "samplings without a signal"),
                newest("prompts_passed_over", "prompts too long"),
            ),
        ),
    ),
)
TIME = Row(
    title="Where does the time go?",
    panels=(
        Panel(
            title="Time of a step, by part",
            look_for="The largest part is what to make faster: more rollout servers for sampling, more ranks for "
            "updating.",
            queries=tuple(newest(f"{part}_seconds", part.removeprefix("seconds_")) for part in STEP_PARTS),
            unit="s",
            kind=Kind.STACKED,
            width=12,
        ),
        Panel(
            title="Throughput",
            look_for="It is steady; a fall at the same completion length means lost servers or a slower disk.",
            queries=(
                Query(
                    expr=f"max(prorl_learner_tokens_generated_tokens{OF_RUN} / "
                    f"prorl_learner_seconds_total_seconds{OF_RUN})",
                    legend="tokens sampled a second of step",
                ),
                Query(
                    expr=f"max(prorl_learner_tokens_trained_tokens{OF_RUN} / "
                    f"prorl_learner_seconds_updating_seconds{OF_RUN})",
                    legend="tokens trained a second of updating",
                ),
                Query(
                    expr=f"sum(rate(prorl_rollout_completion_tokens_total{OF_RUN}[{INTERVAL}]))",
                    legend="tokens a second of all rollout servers",
                ),
            ),
            width=12,
        ),
        Panel(
            title="Rollout servers",
            look_for="As many work as are wanted; fewer for long are in the job's condition RolloutReady.",
            queries=(
                newest("rollout_servers_live", "work"),
                newest("rollout_servers_wanted", "wanted", is_bound=True),
                Query(expr=f"sum(prorl_rollout_ready{OF_RUN})", legend="hold weights that were proved"),
            ),
        ),
        Panel(
            title="Loading weights",
            look_for="It is a small part of a step; the slowest server holds up publishing.",
            queries=(
                Query(
                    expr="histogram_quantile(0.95, sum by (part, le) "
                    f"(rate(prorl_rollout_weights_load_seconds_bucket{OF_RUN}[{INTERVAL}])))",
                    legend="{{part}}, 95th percentile",
                ),
            ),
            unit="s",
        ),
        Panel(
            title="Prompt tokens found in the cache",
            look_for="Near (group size - 1) / group size, since a group's prompt is computed once.",
            queries=(
                Query(
                    expr=f"sum(rate(prorl_rollout_cached_prompt_tokens_total{OF_RUN}[{INTERVAL}])) / "
                    f"sum(rate(prorl_rollout_prompt_tokens_total{OF_RUN}[{INTERVAL}]))",
                    legend="share",
                ),
            ),
            unit="percentunit",
            most=1.0,
        ),
    ),
)
MACHINERY = Row(
    title="What was lost, and what does it hold?",
    panels=(
        Panel(
            title="Attempts and restarts",
            look_for="Each stair is a member that was lost; many without steps between them spend the restart budget.",
            queries=(
                newest("attempt", "learner's attempt"),
                Query(
                    expr=f"max by (role) (prorl_operator_restarts{_OF_OPERATOR})",
                    legend="restarts of {{role}}",
                    needs=Needs.OPERATOR,
                ),
            ),
        ),
        Panel(
            title="Since the last checkpoint",
            look_for="It falls to zero as often as spec.checkpoint says; what it shows is what a crash costs.",
            queries=(
                Query(
                    expr=f"time() - max(prorl_learner_checkpoint_timestamp_seconds{OF_RUN})",
                    legend="since the last one",
                ),
                newest("checkpoint_due_seconds", "due", is_bound=True),
            ),
            unit="s",
        ),
        Panel(
            title="Memory of processes",
            look_for="It levels off after a few steps; steady growth ends with a kill. Engine processes of vLLM "
            "and other ranks are not in it.",
            queries=(
                Query(
                    expr=f"max by (prorl_role, pod) (process_resident_memory_bytes{OF_RUN})",
                    legend="{{prorl_role}} {{pod}}",
                ),
            ),
            unit="bytes",
        ),
        Panel(
            title="GPU memory",
            look_for="It stays below the card's; what the learner and a server on the same card hold adds up.",
            queries=(
                Query(
                    expr=f"max by (pod) ({_GPU_MEMORY} * 1048576)",
                    legend="{{pod}}",
                    needs=Needs.DCGM,
                ),
            ),
            unit="bytes",
        ),
    ),
)

RUN_BOARD = Board(
    uid="prorl-run",
    title="ProRL / Run",
    about="One run of one job. Choose namespace, job and run; runs of the same job name do not mix.",
    variables=(
        Variable(name="namespace", label="Namespace", query="label_values(prorl_learner_steps_wanted, namespace)"),
        Variable(
            name="job",
            label="Job",
            query='label_values(prorl_learner_steps_wanted{namespace="$namespace"}, prorl_job)',
        ),
        Variable(
            name="run",
            label="Run",
            query='label_values(prorl_learner_steps_wanted{namespace="$namespace", prorl_job="$job"}, prorl_run)',
        ),
    ),
    rows=(LEARNING, KL, EXPLORATION, OPTIMIZATION, TIME, MACHINERY),
    marks=(
        Mark(
            name="Reference resets",
            expr=f"max(changes(prorl_learner_resets_total{OF_RUN}[2m])) > 0",
            colour="red",
        ),
    ),
    links={"Fleet": "/d/prorl-fleet", "Sandbox": "/d/prorl-sandbox"},
)
