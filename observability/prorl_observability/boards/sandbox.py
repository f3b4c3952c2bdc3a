"""The judges: what they say, how long they take, and how well programs are contained."""

from __future__ import annotations

from prorl_observability.panels import INTERVAL, Board, Kind, Needs, Panel, Query, Row, Variable

_OF = '{namespace="$namespace", prorl_job=~"$job"}'


def rate(metric: str, by: str, legend: str, *, needs: Needs = Needs.NOTHING) -> Query:
    """Return how often something happened a second."""
    return Query(expr=f"sum by ({by}) (rate(prorl_sandbox_{metric}{_OF}[{INTERVAL}]))", legend=legend, needs=needs)


def percentile(share: float, metric: str) -> Query:
    """Return a percentile of a histogram by domain."""
    expr = f"histogram_quantile({share:g}, sum by (domain, le) (rate(prorl_sandbox_{metric}_bucket{_OF}[{INTERVAL}])))"
    return Query(expr=expr, legend=f"{{{{domain}}}}, {share:.0%}")


SANDBOX = Board(
    uid="prorl-sandbox",
    title="ProRL / Sandbox",
    about="Reward sandboxes: verdicts, latency, queue, and what contains model-written programs.",
    variables=(
        Variable(name="namespace", label="Namespace", query="label_values(prorl_sandbox_queued_items, namespace)"),
        Variable(
            name="job",
            label="Job",
            query='label_values(prorl_sandbox_queued_items{namespace="$namespace"}, prorl_job)',
            is_multi=True,
        ),
    ),
    rows=(
        Row(
            title="What is judged?",
            panels=(
                Panel(
                    title="Verdicts, by domain",
                    look_for="Wrong turns into correct as the run learns; a verdict that is neither is not a low "
                    "score, but masked.",
                    queries=(rate("items_total", "domain, verdict", "{{domain}}: {{verdict}}"),),
                    unit="ops",
                    kind=Kind.STACKED,
                ),
                Panel(
                    title="Programs, by language and verdict",
                    look_for="Timeouts and memory verdicts that rise while the load does are crowding, not the "
                    "programs.",
                    queries=(
                        rate("programs_total", "language, verdict", "{{language}}: {{verdict}}", needs=Needs.PROGRAMS),
                    ),
                    unit="ops",
                    kind=Kind.STACKED,
                ),
                Panel(
                    title="Share without a verdict, by source",
                    look_for="Near zero; a rise with healthy sandboxes means that completions escape being judged.",
                    queries=(
                        Query(
                            expr=f"max by (prorl_job, source) (prorl_learner_rollouts_masked_recent_ratio{_OF})",
                            legend="{{prorl_job}}: {{source}}",
                            needs=Needs.LONG_RUN,
                        ),
                    ),
                    unit="percentunit",
                ),
            ),
        ),
        Row(
            title="How fast?",
            panels=(
                Panel(
                    title="Time to judge",
                    look_for="It is flat; a rise of one domain is longer answers or slower programs.",
                    queries=(percentile(0.5, "judge_seconds"), percentile(0.95, "judge_seconds")),
                    unit="s",
                ),
                Panel(
                    title="Time in the queue",
                    look_for="Far below the time of a step; else more sandboxes (sandbox.replicas) or workers.",
                    queries=(percentile(0.95, "queue_seconds"),),
                    unit="s",
                ),
                Panel(
                    title="Waiting now",
                    look_for="It drains between steps; what stays is work that nobody takes.",
                    queries=(
                        Query(expr=f"sum(prorl_sandbox_queued_items{_OF})", legend="completions"),
                        Query(expr=f"sum(prorl_sandbox_queued_programs{_OF})", legend="programs"),
                    ),
                ),
            ),
        ),
        Row(
            title="Is it well, and how are programs contained?",
            panels=(
                Panel(
                    title="Isolation level",
                    look_for="It is the level that the spec's minimum promises, on every sandbox; docs/sandbox.md "
                    "says what each does not cover.",
                    queries=(
                        Query(
                            expr=f"count by (isolation_level) (prorl_sandbox_isolation{_OF} == 1)",
                            legend="{{isolation_level}}",
                        ),
                    ),
                    kind=Kind.NUMBER,
                ),
                Panel(
                    title="Workers ended before their time",
                    look_for="Hardly any; deadlines are answers that a verifier cannot read in time.",
                    queries=(rate("workers_killed_total", "reason", "{{reason}}", needs=Needs.ENDED),),
                    unit="ops",
                ),
                Panel(
                    title="Programs judged again alone",
                    look_for="Few; many mean that programs crowd each other out: fewer workers, or more CPU.",
                    queries=(
                        Query(
                            expr=f"sum(rate(prorl_sandbox_programs_rerun_total{_OF}[{INTERVAL}]))",
                            legend="judged again",
                        ),
                    ),
                    unit="ops",
                ),
                Panel(
                    title="Compilations",
                    look_for="Hits dominate where the same checkers compile again and again.",
                    queries=(
                        rate("compilations_total", "language, cache", "{{language}}: {{cache}}", needs=Needs.COMPILED),
                    ),
                    unit="ops",
                ),
                Panel(
                    title="Memory",
                    look_for="It levels off; workers and programs are processes of their own and not in it.",
                    queries=(
                        Query(
                            expr='max by (pod) (process_resident_memory_bytes{prorl_role="sandbox", '
                            'namespace="$namespace", prorl_job=~"$job"})',
                            legend="{{pod}}",
                        ),
                    ),
                    unit="bytes",
                ),
            ),
        ),
    ),
    links={"Fleet": "/d/prorl-fleet"},
)
