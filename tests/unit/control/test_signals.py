"""What is made of a Prometheus's answers: snapshots, the timeline, and a reason for everything that is no number."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from signal_builders import (
    INTERVAL,
    JOB,
    NAMES,
    NOW,
    TARGET,
    answer,
    fed,
    make_learner,
    make_own,
    make_wanted,
    result,
    samples,
    step,
)

from prorl_control.resets.series import Series
from prorl_control.signals.answers import AnswerError, matrix, refused
from prorl_control.signals.job_signals import JobSignals, Span
from prorl_control.signals.promql import QueryError, bound, fault_of, one_series
from prorl_control.signals.questions import metric_names, metric_query, samples_query
from prorl_control.signals.reading import LearnerSeries, SignalFault, SignalReason, WithStandIn
from prorl_control.signals.snapshots import Snapshot, each_job
from prorl_control.signals.timeline import Timeline, unseen_steps

R = SignalReason


def steps_of(lines: list[dict[str, Any]]) -> list[int]:
    return [line["step"] for line in lines]


# Questions


def test_a_hundred_jobs_are_one_selector_that_names_role_namespaces_and_jobs() -> None:
    query = samples_query([("b", "y"), ("a", "x")], {"kl"}, 75)
    assert query == (
        '{__name__=~"prorl_learner_attempt|prorl_learner_kl_nats|prorl_learner_resumed_from_step|prorl_learner_step",'
        'namespace=~"a|b",prorl_job=~"x|y",prorl_role="learner"}[75s]'
    )


def test_evidence_shows_a_query_that_anybody_can_run() -> None:
    assert metric_query(JOB, "kl") == 'prorl_learner_kl_nats{namespace="team-a",prorl_job="demo",prorl_role="learner"}'
    by_source = metric_query(JOB, "validation_source_accuracy/math")
    assert by_source.startswith("prorl_learner_validation_source_accuracy{")
    assert 'source="math"' in by_source


# Answers


@pytest.mark.parametrize(
    ("document", "wanted"),
    [
        (None, "no `status: success`"),
        ([], "no `status: success`"),
        ({"status": "error", "error": "x"}, "no `status: success`"),
        ({"status": "success"}, "of type None"),
        ({"status": "success", "data": {"resultType": "vector", "result": []}}, "of type vector"),
        ({"status": "success", "data": {"resultType": "matrix", "result": {}}}, "no list"),
        ({"status": "success", "data": {"resultType": "matrix", "result": [7]}}, "no labels"),
        ({"status": "success", "data": {"resultType": "matrix", "result": [{"metric": {}}]}}, "no plain values"),
        (answer([{"metric": {"a": 1}, "values": []}]), "no labels"),
        (answer([{"metric": {}, "values": [[1]]}]), "no pair of time and value"),
        (answer([{"metric": {}, "values": [["a", "1"]]}]), "no pair of time and value"),
        (answer([{"metric": {}, "values": [[1, "one"]]}]), "no pair of time and value"),
        (answer([{"metric": {}, "values": [[1, None]]}]), "no pair of time and value"),
        (answer([{"metric": {}, "values": [["NaN", "1"]]}]), "no time"),
        (answer([{"metric": {}, "histograms": [[1, {}]]}]), "no plain values"),
    ],
)
def test_an_answer_that_is_no_matrix_is_refused_in_words(document: Any, wanted: str) -> None:
    with pytest.raises(AnswerError, match=wanted) as caught:
        matrix(document)
    assert caught.value.fault.reason is R.BAD_ANSWER


@pytest.mark.parametrize(
    ("status", "reason"), [(401, R.UNAUTHORIZED), (403, R.UNAUTHORIZED), (302, R.REFUSED), (422, R.REFUSED)]
)
def test_a_refusal_says_what_to_look_at(status: int, reason: SignalReason) -> None:
    error = refused(status, {"error": "many-to-many\x1b[2J" + "x" * 5000})
    assert error.fault.reason is reason
    assert str(status) in str(error)
    assert "\x1b" not in str(error)
    assert len(str(error)) < 400


# Snapshots


def test_values_of_one_scrape_make_one_snapshot_and_never_mix_with_the_next() -> None:
    found = samples(result([(30, step(4, kl=0.25, validation_accuracy=0.5)), (15, step(5, kl=0.5))]))
    assert found.faults == []
    assert [(one.step, dict(one.values)) for one in found.snapshots] == [
        (4, {"kl": 0.25, "validation_accuracy": 0.5}),
        (5, {"kl": 0.5}),
    ]


def test_series_of_other_jobs_namespaces_and_names_are_passed_over() -> None:
    found = samples(
        result([(15, step(5))]),
        result([(15, step(9))], prorl_job="other"),
        result([(15, step(9))], namespace="team-b"),
        [{"metric": {**TARGET, "__name__": "up"}, "values": [[NOW, "1"]]}],
        [{"metric": {"__name__": "prorl_learner_step"}, "values": [[NOW, "9"]]}],
    )
    assert [one.step for one in found.snapshots] == [5]
    assert found.faults == []


def test_a_metric_with_sources_keeps_them_apart() -> None:
    names = frozenset({"validation_source_accuracy/math"})
    source = {"__name__": "prorl_learner_validation_source_accuracy", **TARGET}
    found = samples(
        result([(15, step(5, kl=None))]),
        [
            {"metric": {**source, "source": name}, "values": [[NOW - 15, value]]}
            for name, value in (("math", "0.5"), ("code", "0.25"))
        ],
        names=names,
    )
    assert dict(found.snapshots[0].values) == {
        "validation_source_accuracy/math": 0.5,
        "validation_source_accuracy/code": 0.25,
    }


def test_series_of_an_earlier_job_of_the_same_name_are_passed_over() -> None:
    series = matrix(answer(result([(15, step(9))], prorl_run="old"), result([(15, step(5))], prorl_run="new")))
    found = dict(each_job(series, metric_names(NAMES), [JOB], NOW, {JOB: "new"}))[JOB]
    assert [one.step for one in found.snapshots] == [5]
    assert found.faults == []


def test_two_replicas_that_scrape_one_learner_are_no_two_learners() -> None:
    found = samples(
        result([(30, step(4)), (15, step(5))], prometheus_replica="a"),
        result([(26, step(4)), (11, step(5))], prometheus_replica="b"),
    )
    assert found.faults == []
    assert [one.step for one in found.snapshots] == [4, 4, 5, 5]


def faults(*results: list[dict[str, Any]]) -> set[SignalReason]:
    return {fault.reason for fault in samples(*results).faults}


@pytest.mark.parametrize(
    ("results", "reason"),
    [
        ([result([(15, step(5))]), result([(16, step(5))], pod="demo-learner-1-9")], R.TWO_LEARNERS),
        ([result([(15, {"step": 5, "kl_nats": 9.0})])], R.INCOMPLETE),
        ([result([(15, {"attempt": 1, "kl_nats": 9.0})])], R.INCOMPLETE),
        ([result([(15, {**step(5), "step": 5.5})])], R.INCOMPLETE),
        ([result([(15, {**step(5), "step": -5})])], R.INCOMPLETE),
        ([result([(15, {**step(5), "step": 1e300})])], R.INCOMPLETE),
        ([result([(15, {**step(5), "step": "NaN"})])], R.INCOMPLETE),
        ([result([(15, {**step(5), "attempt": "+Inf"})])], R.INCOMPLETE),
        ([result([(15, step(5, kl="NaN"))])], R.NOT_FINITE),
        ([result([(15, step(5, kl="+Inf"))])], R.NOT_FINITE),
        ([result([(15, step(5, kl="-Inf"))])], R.NOT_FINITE),
        ([result([(-600, step(5, kl=9.0))])], R.FROM_THE_FUTURE),
        ([result([(15, step(5, kl=0.1))], stage="a"), result([(15, {"kl_nats": 9.0})], stage="b")], R.CONTRADICTORY),
    ],
)
def test_what_is_no_snapshot_of_the_one_learner_is_a_reason_and_never_a_number(
    results: list[list[dict[str, Any]]], reason: SignalReason
) -> None:
    found = samples(*results)
    assert {fault.reason for fault in found.faults} == {reason}
    assert all("kl" not in one.values or one.values["kl"] == 0.1 for one in found.snapshots)


@pytest.mark.parametrize(
    ("results", "seen"),
    [
        # The target ended: VictoriaMetrics shows Prometheus' marks of that.
        ([result([(30, step(5)), (15, dict.fromkeys(step(5), "NaN"))])], [(5, 0.1)]),
        ([result([(30, step(5)), (15, dict.fromkeys(step(5), "NaN")), (0, step(6))])], [(5, 0.1), (6, 0.1)]),
        # One series ended where another one of the same name begins; either may come first.
        ([result([(15, step(5))], stage="b"), result([(15, {"kl_nats": "NaN"})], stage="a")], [(5, 0.1)]),
        ([result([(15, {"kl_nats": "NaN"})], stage="a"), result([(15, step(5))], stage="b")], [(5, 0.1)]),
        ([result([(15, {"kl_nats": "NaN", "step": "NaN"})], stage="a"), result([(15, step(5))])], [(5, 0.1)]),
    ],
)
def test_where_a_series_ended_nothing_is_wrong(
    results: list[list[dict[str, Any]]], seen: list[tuple[int, float]]
) -> None:
    found = samples(*results)
    assert found.faults == []
    assert [(one.step, one.values["kl"]) for one in found.snapshots] == seen


# The timeline


def make_snapshot(at: float, number: int, *, attempt: int = 1, resumed: int | None = None, **values: float) -> Snapshot:
    return Snapshot(NOW + at, attempt, number, resumed, values)


def test_several_scrapes_of_a_step_count_once_and_the_first_stays() -> None:
    timeline = Timeline()
    timeline.add([make_snapshot(0, 4, kl=0.1), make_snapshot(15, 4, kl=0.1), make_snapshot(30, 5, kl=0.2)])
    timeline.add([make_snapshot(15, 4, kl=0.9), make_snapshot(30, 5, kl=0.2, validation_accuracy=0.5)])
    assert timeline.lines == [
        {"step": 4, "attempt": 1, "kl": 0.1},
        {"step": 5, "attempt": 1, "kl": 0.2, "validation_accuracy": 0.5},
    ]


def test_steps_that_no_scrape_saw_are_absent_and_counted() -> None:
    timeline = Timeline()
    timeline.add([make_snapshot(0, 4), make_snapshot(15, 9), make_snapshot(30, 10)])
    assert steps_of(timeline.lines) == [4, 9, 10]
    assert unseen_steps(timeline.lines) == 4
    assert unseen_steps([]) == 0


def test_what_an_earlier_attempt_did_after_the_checkpoint_does_not_count_even_if_unseen_steps_hide_it() -> None:
    # Attempt 1 reached 15; attempt 2 went on from 10, and its steps 11 to 17 were not scraped.
    timeline = Timeline()
    timeline.add([make_snapshot(number, number) for number in range(8, 16)])
    timeline.add([make_snapshot(60, 18, attempt=2, resumed=10)])
    assert steps_of(timeline.lines) == [8, 9, 10, 18]


def test_without_the_learner_s_word_the_first_step_that_was_seen_counts() -> None:
    timeline = Timeline()
    timeline.add([make_snapshot(number, number) for number in range(8, 16)])
    timeline.add([make_snapshot(60, 12, attempt=2)])
    assert [(line["attempt"], line["step"]) for line in timeline.lines] == [(1, 8), (1, 9), (1, 10), (1, 11), (2, 12)]


def test_samples_that_arrive_late_take_their_place() -> None:
    timeline = Timeline()
    timeline.add([make_snapshot(30, 6)])
    timeline.add([make_snapshot(0, 4), make_snapshot(15, 5)])
    assert steps_of(timeline.lines) == [4, 5, 6]


def test_a_step_that_falls_within_an_attempt_is_a_fault_until_it_is_out_of_sight() -> None:
    timeline = Timeline()
    timeline.add([make_snapshot(0, 9), make_snapshot(15, 3)])
    assert timeline.fault is not None
    assert timeline.fault.reason is R.STEPS_FALL
    timeline.add([make_snapshot(30, 10)])
    assert timeline.fault is None


def test_an_own_signal_belongs_to_the_step_that_was_newest_then() -> None:
    timeline = Timeline()
    timeline.add([make_snapshot(0, 4), make_snapshot(15, 5), make_snapshot(45, 6)])
    timeline.add_signal("signals.judged", [(NOW - 5, 0.1), (NOW + 20, 0.2), (NOW + 35, 0.9), (NOW + 45, 0.4)])
    assert [line.get("signals.judged") for line in timeline.lines] == [None, 0.2, 0.4]


def test_thinning_keeps_the_newest_lines_and_every_validation() -> None:
    timeline = Timeline()
    timeline.add(
        Snapshot(NOW + number, 1, number, None, {"validation_accuracy": 0.5} if number % 10 == 0 else {"kl": 0.1})
        for number in range(1, 301)
    )
    timeline.thin(16)
    assert steps_of(timeline.lines) == [*range(10, 281, 10), *range(285, 301)]


def test_lines_are_bounded_however_many_validations_are_kept() -> None:
    timeline, most = Timeline(), 0
    for number in range(1, 2001):
        values = {"validation_accuracy": 0.5} if number % 10 == 0 else {"kl": 0.1}
        timeline.add([Snapshot(NOW + number, 1, number, None, values)])
        timeline.thin(103)
        most = max(most, len(timeline.lines) - number // 10)
    assert most <= 103 + 32
    assert steps_of(timeline.lines)[-103:] == list(range(1898, 2001))


def test_a_new_attempt_is_read_anew_where_lines_before_it_are_missing() -> None:
    wanted = make_wanted(recent=16)
    signals = fed(result([(15.0 * (201 - number), step(number)) for number in range(1, 201)]), wanted=wanted)
    assert steps_of(signals.read(NOW, make_learner(200)).lines) == list(range(185, 201))
    again = result([(0, step(181, attempt=2, resumed_from_step=180))])
    learner = make_learner(181, attempt=2, resumed=180)
    signals.take(Span(NOW - 60, NOW), samples(again), {})
    assert signals.read(NOW, learner).fault == SignalFault(
        reason=R.NOT_READ_YET, message="Prometheus main was not asked yet"
    )
    whole = result([(15.0 * (201 - number), step(number)) for number in range(1, 201)])
    signals.take(Span(wanted.since, NOW), samples(whole, again), {})
    assert steps_of(signals.read(NOW, learner).lines) == list(range(166, 182))


@given(st.permutations(range(12)), st.integers(1, 12))
def test_the_order_in_which_scrapes_arrive_changes_nothing(order: list[int], cut: int) -> None:
    snapshots = [make_snapshot(number, 4 + number // 2, kl=0.1 * (number // 2)) for number in range(12)]
    timeline, other = Timeline(), Timeline()
    timeline.add(snapshots)
    shuffled = [snapshots[number] for number in order]
    other.add(shuffled[:cut])
    other.add(shuffled[cut:])
    assert timeline.lines == other.lines


# What a job's signals come to


def reading(signals: JobSignals, learner_step: int = 100, **learner: Any) -> Any:
    return signals.read(NOW, make_learner(learner_step, **learner))


def test_all_is_well_says_where_evidence_was_read_and_what_no_scrape_saw() -> None:
    signals = fed(result([(45, step(3)), (30, step(4)), (15, step(7))]))
    found = reading(signals)
    assert found.fault is None
    assert steps_of(found.lines) == [3, 4, 7]
    origin = found.origin("kl", (3, 4, 7))
    assert origin.prometheus == "main"
    assert origin.query == metric_query(JOB, "kl")
    assert (origin.window_start, origin.window_end) == (NOW - 45, NOW - 15)
    assert (origin.steps_seen, origin.steps_unseen) == (3, 2)


def blocked(signals: JobSignals, learner_step: int = 100, **learner: Any) -> SignalReason:
    found = reading(signals, learner_step, **learner)
    assert found.lines == []
    assert found.fault is not None
    if not found.fault.is_for_a_moment:
        assert found.fault.message.endswith(" (spec.monitoring.prometheus)")
    reason: SignalReason = found.fault.reason
    return reason


def test_a_fault_names_the_field_that_names_the_prometheus() -> None:
    by_address = make_wanted(prometheus="http://p:9090")
    assert reading(fed(wanted=by_address)).fault.message.endswith(" (spec.monitoring.prometheusUrl)")
    signals = fed(result([(15, step(5, kl="NaN"))]))
    assert reading(signals).fault.message.endswith("it is left out (spec.monitoring.prometheus)")


def test_nothing_is_decided_on_before_the_first_answer() -> None:
    assert blocked(JobSignals(make_wanted())) is R.NOT_READ_YET


def test_no_series_names_the_series_that_is_wanted() -> None:
    found = reading(fed())
    assert found.fault.reason is R.NO_SERIES
    assert 'prorl_role="learner"' in found.fault.message
    assert "podMonitor" in found.fault.message
    assert blocked(fed(), learner_step=0) is R.NOT_READ_YET


def test_stale_samples_are_no_samples() -> None:
    assert blocked(fed(result([(6 * INTERVAL, step(5))]))) is R.STALE
    assert reading(fed(result([(4 * INTERVAL, step(5))]))).fault is None


@pytest.mark.parametrize(
    ("results", "reason"),
    [
        ([result([(15, step(5))]), result([(16, step(5))], pod="demo-learner-1-9")], R.TWO_LEARNERS),
        ([result([(15, step(5)), (-600, step(6))])], R.FROM_THE_FUTURE),
        ([result([(30, step(9)), (15, step(3))])], R.STEPS_FALL),
        ([result([(45, step(101)), (15, step(101))])], R.AHEAD_OF_LEARNER),
        ([result([(45, step(5, attempt=2)), (15, step(5, attempt=2))])], R.UNKNOWN_ATTEMPT),
    ],
)
def test_a_prometheus_that_cannot_be_right_is_not_decided_on(
    results: list[list[dict[str, Any]]], reason: SignalReason
) -> None:
    assert blocked(fed(*results)) is reason


def test_a_step_that_the_learner_did_since_it_was_heard_is_left_out_and_no_lie() -> None:
    found = reading(fed(result([(45, step(99)), (2, step(101))])))
    assert found.fault is None
    assert steps_of(found.lines) == [99]


@pytest.mark.parametrize(("value", "reason"), [("NaN", R.NOT_FINITE), ("+Inf", R.NOT_FINITE)])
def test_a_value_that_is_no_number_is_left_out_while_the_others_stand(value: str, reason: SignalReason) -> None:
    found = reading(fed(result([(30, step(4, kl=0.25)), (15, step(5, kl=value, validation_accuracy=0.5))])))
    assert found.fault.reason is reason
    assert found.lines == [
        {"step": 4, "attempt": 1, "kl": 0.25},
        {"step": 5, "attempt": 1, "validation_accuracy": 0.5},
    ]


def test_lines_of_an_attempt_that_did_not_survive_are_left_out_by_the_learner_s_word() -> None:
    signals = fed(result([(60 - number, step(number)) for number in range(8, 16)]))
    assert steps_of(reading(signals, 12, attempt=2, resumed=10).lines) == [8, 9, 10]
    assert steps_of(reading(signals, 12, attempt=2).lines) == []


AWAY = SignalFault(reason=R.UNREACHABLE, message="Prometheus main: connection refused")


def test_a_question_that_failed_leaves_what_is_known_until_it_is_stale() -> None:
    signals = fed(result([(15, step(5))]))
    signals.fail(AWAY)
    assert reading(signals).fault is None
    later = signals.read(NOW + 6 * INTERVAL, make_learner())
    told = "Prometheus main: connection refused (spec.monitoring.prometheus)"
    assert (later.fault, later.lines) == (SignalFault(reason=R.UNREACHABLE, message=told), [])


def test_while_a_prometheus_is_away_the_learner_s_series_stand_in_where_that_is_asked_for() -> None:
    signals = JobSignals(make_wanted())
    signals.fail(AWAY)
    series = Series()
    series.take_file([{"step": 5, "attempt": 1, "kl": 0.5}])
    waiting = signals.read(NOW, make_learner())
    standing_in = WithStandIn(signals, LearnerSeries(series)).read(NOW, make_learner())
    assert waiting.lines == []
    assert standing_in.lines == series.lines
    assert standing_in.origin is None
    assert standing_in.fault is not None
    assert standing_in.fault.reason is R.UNREACHABLE
    assert "stand in" in standing_in.fault.message


def test_nobody_stands_in_for_a_prometheus_that_is_about_to_be_read() -> None:
    series = Series()
    series.take_file([{"step": 5, "attempt": 1, "kl": 0.5}])
    found = WithStandIn(JobSignals(make_wanted()), LearnerSeries(series)).read(NOW, make_learner())
    assert found.lines == []
    assert found.fault is not None
    assert found.fault.reason is R.NOT_READ_YET


def test_a_prometheus_that_is_there_is_preferred_to_the_stand_in() -> None:
    signals = fed(result([(15, step(5))]))
    found = WithStandIn(signals, LearnerSeries(Series())).read(NOW, make_learner())
    assert steps_of(found.lines) == [5]
    assert found.fault is None


def test_history_is_asked_for_back_to_the_last_applied_reset_and_nothing_is_decided_before() -> None:
    wanted = make_wanted(since=NOW - 86_400, target_step=40)
    signals = JobSignals(wanted)
    newest = signals.newest_span(NOW)
    assert newest.start == NOW - 240 * INTERVAL
    signals.take(newest, samples(result([(15, step(50))])), {})
    assert blocked(signals) is R.READING_HISTORY
    piece = signals.history_span()
    assert piece is not None
    assert piece.is_history
    assert piece.end == newest.start
    signals.take(piece, samples(result([(newest.end - piece.end + 30, step(41))])), {})
    assert signals.history_span() is None
    assert steps_of(reading(signals).lines) == [41, 50]


def test_history_ends_where_the_job_began_and_goes_over_silence_in_longer_pieces() -> None:
    wanted = make_wanted(since=NOW - 30 * 86_400)
    signals = JobSignals(wanted)
    signals.take(signals.newest_span(NOW), samples(result([(15, step(50))])), {})
    lengths = []
    while (piece := signals.history_span()) is not None:
        lengths.append(piece.end - piece.start)
        signals.take(piece, samples(), {})
    assert piece is None
    assert len(lengths) < 12
    assert reading(signals).fault is None


def test_the_next_question_overlaps_the_last_for_what_arrives_late() -> None:
    signals = fed(result([(15, step(5))]))
    assert signals.newest_span(NOW + 15).start == NOW - 15 - 4 * INTERVAL


def test_after_a_long_gap_everything_is_read_anew() -> None:
    signals = fed(result([(15, step(5))]))
    later = NOW + 2 * 240 * INTERVAL
    assert signals.newest_span(later) == Span(later - 240 * INTERVAL, later)
    assert signals.read(later, make_learner()).fault == SignalFault(
        reason=R.NOT_READ_YET, message="Prometheus main was not asked yet"
    )


def test_samples_from_before_the_job_are_of_another_one_of_its_name() -> None:
    wanted = make_wanted(since=NOW - 60)
    signals = fed(result([(90, step(900)), (15, step(5))]), wanted=wanted)
    assert steps_of(reading(signals).lines) == [5]


def test_the_pod_of_an_earlier_job_is_no_second_learner() -> None:
    wanted = make_wanted(since=NOW - 60)
    signals = fed(result([(90, step(900))], pod="of-the-earlier-one"), result([(15, step(5))]), wanted=wanted)
    assert reading(signals).fault is None
    assert steps_of(reading(signals).lines) == [5]


def test_another_query_of_a_signal_begins_anew() -> None:
    signals = fed(result([(15, step(5))]), wanted=make_wanted(own=(make_own(),)))
    signals.want(make_wanted(own=(make_own(query="other"),)))
    assert blocked(signals) is R.NOT_READ_YET


def test_a_faulty_signal_names_its_field_and_leaves_the_others() -> None:
    own = make_own()
    signals = fed(result([(15, step(5))]), wanted=make_wanted(own=(own,)))
    signals.take_own_fault(own, SignalFault(reason=R.SIGNAL_FAULTY, message="it gives 2 series"))
    found = reading(signals)
    assert steps_of(found.lines) == [5]
    assert found.fault.message == "spec.monitoring.signals[0].query: it gives 2 series"
    signals.take_own_fault(own, None)
    assert reading(signals).fault is None


# Own queries


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ('avg(judged{run="$job"})', 'avg(judged{namespace="team-a",run="demo"})'),
        ("sum(rate(a[5m])) / b offset 1m", 'sum(rate(a{namespace="team-a"}[5m])) / b{namespace="team-a"} offset 1m'),
        ("max_over_time(a[5m:1m])", 'max_over_time(a{namespace="team-a"}[5m:1m])'),
        ("sum_over_time((a or b)[5m:])", 'sum_over_time((a{namespace="team-a"} or b{namespace="team-a"})[5m:])'),
        ('a{namespace="team-b"}', 'a{namespace="team-a",namespace="team-b"}'),
        ('a{namespace=~".*"} unless b', 'a{namespace="team-a",namespace=~".*"} unless b{namespace="team-a"}'),
        ('{__name__=~".+"}', '{__name__=~".+",namespace="team-a"}'),
        ('a{b="))}"}', 'a{b="))}",namespace="team-a"}'),
        ('absent(a{namespace="$namespace"})', 'absent(a{namespace="team-a"})'),
        ("min_over_time(a[1h] @ end())", 'min_over_time(a{namespace="team-a"}[1h] @ end())'),
    ],
)
def test_every_selector_of_an_own_query_is_held_to_the_job_s_namespace(query: str, asked: str) -> None:
    assert bound(query, JOB) == asked
    assert bound(asked, JOB) == asked


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("avg(", "no PromQL"),
        ("avg(a))", "no PromQL"),
        ("rate(a)", "no PromQL"),
        ("nosuchfunction(a)", "no PromQL"),
        ("a[5m]", "a range of samples"),
        ("((a[5m]))", "a range of samples"),
        ("a[5m:1m]", "a range of samples"),
        ('"text"', "a text"),
        ("1 + 1", "no series in it"),
        ("vector(1)", "no series in it"),
        ("time()", "no series in it"),
        ('a{b="$jobs"}', "begins `$job`"),
        ('a{b="$"}', "begins `$job`"),
        ('a{b="1" or c="2"}', "`or` inside its braces"),
        ('a{b="x\\"} or c{d=\\"y"}', "backslash"),
        ("a{b=`x`}", "back-quote"),
        ("a # or b", "comment"),
        ("a\nor b", "one line"),
        ("(" * 900 + "a" + ")" * 900, "nested deeper"),
        ("-" * 2000 + "a", "operators"),
        ("a+" * 1000 + "a", "operators"),
        ("a and " * 300 + "a", "operators"),
        ("sum(" * 400 + "a" + ")" * 400, "nested deeper"),
        (" ", "no PromQL"),
    ],
)
def test_a_query_that_cannot_be_asked_says_why(query: str, wanted: str) -> None:
    assert wanted in fault_of(query)
    with pytest.raises(QueryError):
        bound(query, JOB)


@given(st.text(st.sampled_from("ab{}()[]\",=~! or'5m:@-+$x"), max_size=40))
def test_no_query_comes_through_without_the_namespace(query: str) -> None:
    try:
        asked = bound(query, JOB)
    except QueryError:
        return
    assert asked.count('namespace="team-a"') >= 1
    assert bound(asked, JOB) == asked


@pytest.mark.parametrize(
    ("series", "reason"),
    [
        ([], R.SIGNAL_EMPTY),
        ([{"metric": {"pod": name}, "values": [[NOW, "1"]]} for name in "ab"], R.SIGNAL_FAULTY),
    ],
)
def test_a_query_that_gives_no_or_several_series_is_a_fault(series: list[Any], reason: SignalReason) -> None:
    points, fault = one_series(matrix(answer(series)))
    assert points == []
    assert fault is not None
    assert fault.reason is reason
    if len(series) > 1:
        assert "differ in pod" in fault.message


def test_every_job_that_was_asked_for_is_in_the_answer() -> None:
    found = dict(each_job([], metric_names({"kl"}), [JOB, ("b", "c")], NOW))
    assert set(found) == {JOB, ("b", "c")}
