"""What a run leaves behind: the surviving timeline, the paths of its folder, names, errors and exit codes."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prorl_api.errors import ExitCode, Fault, NonFiniteError, ProRLError, SpecError, TransientError
from prorl_api.metrics import BY_NAME, TABLE, surviving
from prorl_api.names import MAX_JOB_NAME_LENGTH, deployment_name, learner_job_name, member_name, reset_name
from prorl_api.run_folder import RunFolder
from prorl_api.spec.values import Role
from prorl_api.status import Condition, ConditionStatus, ConditionType, JobStatus

LINES = st.lists(st.fixed_dictionaries({"attempt": st.integers(1, 4), "step": st.integers(0, 12)}), max_size=30)


def timeline(lines: list[dict[str, int]]) -> list[tuple[int, int]]:
    return [(line["attempt"], line["step"]) for line in surviving(lines)]


def test_a_resumed_attempt_replaces_the_steps_from_where_it_resumed() -> None:
    # 1 reached step 5; 2 resumed after step 3 and reached 6; 3 resumed after step 1 and reached 2, then 4.
    first = [{"attempt": 1, "step": step} for step in (1, 2, 3, 4, 5)]
    second = [{"attempt": 2, "step": step} for step in (4, 5, 6)]
    third = [{"attempt": 3, "step": step} for step in (2, 3, 4)]
    assert timeline(first + second) == [(1, 1), (1, 2), (1, 3), (2, 4), (2, 5), (2, 6)]
    assert timeline(third + first + second) == [(1, 1), (3, 2), (3, 3), (3, 4)]


def test_an_attempt_without_a_line_of_its_own_replaces_nothing() -> None:
    assert timeline([{"attempt": 1, "step": step} for step in (1, 2)]) == [(1, 1), (1, 2)]
    assert timeline([]) == []


@given(LINES)
def test_surviving_steps_increase_strictly_and_attempts_never_decrease(lines: list[dict[str, int]]) -> None:
    kept = timeline(lines)
    assert all(before[1] < after[1] and before[0] <= after[0] for before, after in itertools.pairwise(kept))


@given(LINES)
def test_the_order_of_the_lines_does_not_matter(lines: list[dict[str, int]]) -> None:
    assert timeline(list(reversed(lines))) == timeline(lines)


@given(LINES)
def test_the_last_line_of_the_highest_attempt_survives(lines: list[dict[str, int]]) -> None:
    if lines:
        assert timeline(lines)[-1] == max((line["attempt"], line["step"]) for line in lines)


def test_metric_names_are_unique_here_and_in_prometheus() -> None:
    assert len(BY_NAME) == len(TABLE) == len({metric.prometheus_name for metric in TABLE})
    assert BY_NAME["kl"].prometheus_name == "prorl_learner_kl_nats"
    assert BY_NAME["step"].prometheus_name == "prorl_learner_step"


def test_the_paths_of_a_run() -> None:
    run = RunFolder(Path("/runs/demo"))
    assert run.manifest == Path("/runs/demo/job.yaml")
    assert run.current == Path("/runs/demo/CURRENT")
    assert run.metrics == Path("/runs/demo/metrics.jsonl")
    assert run.checkpoint(2, 30) == Path("/runs/demo/attempts/2/checkpoints/step-30")
    assert run.journal(2) == Path("/runs/demo/attempts/2/journal")


def test_no_two_parts_of_a_run_share_a_path() -> None:
    run = RunFolder(Path("/runs/demo"))
    parts = [getattr(run, name) for name, kind in vars(RunFolder).items() if isinstance(kind, property)]
    assert len(parts) == len(set(parts)) > 10
    assert all(run.path in part.parents for part in parts)


def test_the_highest_attempt_is_the_largest_number_among_the_folders(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert run.highest_attempt() == 0
    for name in ("2", "10", "9", "x", "-11", "11.tmp", "²"):
        run.attempts.joinpath(name).mkdir(parents=True)
    assert run.highest_attempt() == 10


def test_generated_names_fit_into_63_characters() -> None:
    job = "j" * MAX_JOB_NAME_LENGTH
    names = [learner_job_name(job, 99_999), reset_name(job, 99_999), *(deployment_name(job, role) for role in Role)]
    assert max(map(len, names)) <= 63
    assert member_name(Role.ROLLOUT, 3) == "rollout-3"


def test_a_spec_error_lists_every_fault() -> None:
    faults = [Fault(path="spec.seed", got="-1", want="0 or more"), Fault(path="spec.a", got="1", want="remove it")]
    error = SpecError(faults, source="job.yaml")
    assert str(error) == "job.yaml has 2 faults:\n  spec.seed: got -1; 0 or more\n  spec.a: got 1; remove it"
    assert str(SpecError(faults[:1])) == "the manifest has 1 fault:\n  spec.seed: got -1; 0 or more"


def test_errors_carry_what_their_handler_needs() -> None:
    assert TransientError("busy", retry_after_seconds=3).retry_after_seconds == 3
    error = NonFiniteError("loss is nan", step=7)
    assert (error.step, str(error)) == (7, "step 7: loss is nan")
    assert isinstance(error, ProRLError)


@pytest.mark.parametrize("code", ExitCode)
def test_a_restart_helps_after_an_unexpected_failure_only(code: ExitCode) -> None:
    assert code.restart_can_help is (code == 1)


def test_a_condition_is_found_by_its_type() -> None:
    found = Condition(
        type=ConditionType.ACCEPTED, status=ConditionStatus.TRUE, reason="Valid", last_transition_time=1.0
    )
    status = JobStatus(conditions=(found,))
    assert status.condition(ConditionType.ACCEPTED) is found
    assert status.condition(ConditionType.SUCCEEDED) is None
