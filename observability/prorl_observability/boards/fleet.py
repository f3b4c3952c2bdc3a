"""All jobs at once, and the operator that drives them."""

from __future__ import annotations

from prorl_control.advice.promql import RUN
from prorl_observability.panels import INTERVAL, RANGE, Board, Kind, Needs, Panel, Query, Row, Variable

_JOBS = '{prorl_namespace=~"$namespace"}'
_RUNS = '{namespace=~"$namespace"}'
_ALERTS = 'ALERTS{alertname=~"ProRL.+"'
_OPERATOR = '{job=~"$operator"}'


def of_operator(expr: str, legend: str) -> Query:
    """Return a query over the operator's series."""
    return Query(expr=expr, legend=legend, needs=Needs.OPERATOR)


JOBS = Row(
    title="Jobs",
    panels=(
        Panel(
            title="Jobs by state",
            look_for="Failed and NotAccepted are empty; what is there has its reason in `kubectl describe prj`.",
            queries=(of_operator(f"count by (state) (prorl_operator_job_state{_JOBS} == 1)", "{{state}}"),),
            kind=Kind.NUMBER,
        ),
        Panel(
            title="Progress",
            look_for="Every line climbs to 100 %; click one to see its run.",
            queries=(
                Query(
                    expr=f"max by ({RUN}) (prorl_learner_step{_RUNS}) / "
                    f"on ({RUN}) max by ({RUN}) (prorl_learner_steps_wanted{_RUNS})",
                    legend="{{namespace}}/{{prorl_job}}",
                ),
            ),
            unit="percentunit",
            most=1.0,
            to_run=True,
        ),
        Panel(
            title="Alerts",
            look_for="It is empty; each line is a condition with its remedy in the alert's description.",
            queries=(
                Query(
                    expr=f"count by (alertname, alertstate, prorl_job) ({_ALERTS}, prorl_job!=''}})",
                    legend="{{alertname}} {{prorl_job}} {{alertstate}}",
                    needs=Needs.ALERTS,
                ),
                Query(
                    expr=f"count by (alertname, alertstate) ({_ALERTS}, prorl_job=''}})",
                    legend="{{alertname}} {{alertstate}}",
                    needs=Needs.ALERTS,
                ),
            ),
        ),
        Panel(
            title="Validation",
            look_for="Lines rise; one that falls from its best needs a look at its run.",
            queries=(
                Query(
                    expr=f"max by ({RUN}) (prorl_learner_validation_newest{_RUNS})",
                    legend="{{namespace}}/{{prorl_job}}",
                    needs=Needs.VALIDATION,
                ),
            ),
            to_run=True,
        ),
        Panel(
            title="KL to the reference",
            look_for="Saw teeth: each falls back at a reset; one that climbs without end has none.",
            queries=(
                Query(
                    expr=f"max by ({RUN}) (prorl_learner_kl_nats{_RUNS})",
                    legend="{{namespace}}/{{prorl_job}}",
                ),
            ),
            unit="nats",
            to_run=True,
        ),
        Panel(
            title="Since the newest step",
            look_for="All stay below some steps' time; one that climbs waits for something.",
            queries=(
                Query(
                    expr=f"max by ({RUN}) (prorl:step_age:seconds{_RUNS})",
                    legend="{{namespace}}/{{prorl_job}}",
                ),
            ),
            unit="s",
            to_run=True,
        ),
    ),
)
RESETS = Row(
    title="Resets, restarts and GPUs",
    panels=(
        Panel(
            title="Resets, by trigger",
            look_for="Which rule resets: an interval that always comes first leaves the others without effect.",
            queries=(
                of_operator(
                    f"sum by (trigger, condition) (prorl_operator_resets{_JOBS})", "{{trigger}}, {{condition}}"
                ),
            ),
        ),
        Panel(
            title="Restarts, by role",
            look_for="Stairs of one role in many jobs at once point to nodes or the network, in one job to that job.",
            queries=(
                of_operator(
                    f"sum by (prorl_namespace, prorl_job, role) (prorl_operator_restarts{_JOBS})",
                    "{{prorl_namespace}}/{{prorl_job}} {{role}}",
                ),
            ),
        ),
        Panel(
            title="GPU-hours, by job",
            look_for="What each job held in the time shown; a job at rest with many hours has servers that nobody "
            "uses.",
            queries=(
                Query(
                    expr=f"sum by (namespace, prorl_job) (sum_over_time(prorl:gpus:count{_RUNS}[{RANGE}:1m])) / 60",
                    legend="{{namespace}}/{{prorl_job}}",
                    needs=Needs.DCGM,
                ),
            ),
            unit="h",
            kind=Kind.TABLE,
        ),
    ),
)
OPERATOR_HEALTH = Row(
    title="The operator",
    panels=(
        Panel(
            title="Leaders and replicas",
            look_for="Exactly one leads; none means that nothing is reconciled.",
            queries=(
                of_operator(f"sum(prorl_operator_leader{_OPERATOR})", "lead"),
                of_operator(f"sum(up{_OPERATOR})", "answer"),
            ),
            kind=Kind.NUMBER,
        ),
        Panel(
            title="Passes over jobs",
            look_for="Errors are zero; a steady rate of them has its cause in the operator's log.",
            queries=(
                of_operator(
                    f"sum by (result) (rate(prorl_operator_reconcile_total{_OPERATOR}[{INTERVAL}]))", "{{result}}"
                ),
            ),
            unit="ops",
        ),
        Panel(
            title="Time of a pass, and queue",
            look_for="Passes take milliseconds and the queue is empty; both grow when the API server is slow.",
            queries=(
                of_operator(
                    "histogram_quantile(0.95, sum by (le) "
                    f"(rate(prorl_operator_reconcile_seconds_bucket{_OPERATOR}[{INTERVAL}])))",
                    "95th percentile, seconds",
                ),
                of_operator(f"max(prorl_operator_queue_length{_OPERATOR})", "jobs in the queue"),
            ),
        ),
        Panel(
            title="Calls of the Kubernetes API",
            look_for="Few, and hardly any of status 4xx or 5xx but 409 at a change of leader.",
            queries=(
                of_operator(
                    f"sum by (verb, status) (rate(prorl_operator_api_calls_total{_OPERATOR}[{INTERVAL}]))",
                    "{{verb}} {{status}}",
                ),
            ),
            unit="ops",
        ),
        Panel(
            title="Silence of watches",
            look_for="Below a hundred seconds; beyond, what fails is not seen.",
            queries=(
                of_operator(f"max(prorl_operator_children_age_seconds{_OPERATOR})", "children"),
                of_operator(f"max(prorl_operator_watch_age_seconds{_OPERATOR})", "Lease"),
            ),
            unit="s",
        ),
        Panel(
            title="Memory",
            look_for="It grows with the number of jobs, not with time.",
            queries=(of_operator(f"max by (pod) (process_resident_memory_bytes{_OPERATOR})", "{{pod}}"),),
            unit="bytes",
        ),
    ),
)

FLEET = Board(
    uid="prorl-fleet",
    title="ProRL / Fleet",
    about="All jobs, their resets and restarts, and the operator's own health.",
    variables=(
        Variable(
            name="namespace",
            label="Namespace",
            query="label_values(prorl_learner_steps_wanted, namespace)",
            is_multi=True,
        ),
        Variable(name="operator", label="Operator", query="label_values(prorl_operator_leader, job)", is_multi=True),
    ),
    rows=(JOBS, RESETS, OPERATOR_HEALTH),
    since="now-24h",
    links={"Sandbox": "/d/prorl-sandbox"},
)
