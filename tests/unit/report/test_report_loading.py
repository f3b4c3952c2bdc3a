"""Reading run folders in any state."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from prorl_api.run_folder import RunFolder
from prorl_cli.errors import RunFolderError
from prorl_cli.report.loading import load, series, sources_of, value
from prorl_cli.report.samples import training_groups, validation_completions, validation_rewards
from prorl_cli.resets import records_of

MakeRun = Callable[..., RunFolder]


def test_only_the_surviving_timeline_counts(make_run: MakeRun) -> None:
    data = load(make_run())
    assert [line["step"] for line in data.lines] == list(range(25))
    assert data.timeline[12] == 1
    assert data.timeline[13] == 2
    assert [(line["step"], line["attempt"]) for line in data.repeated] == [(13, 1), (14, 1)]
    assert data.attempts == 2
    assert data.notes == ()


def test_an_empty_folder_is_a_run_without_anything(tmp_path: Path) -> None:
    data = load(RunFolder(tmp_path / "fresh"))
    assert (data.name, data.lines, data.resets, data.status, data.created) == ("fresh", (), (), None, None)


def test_a_torn_last_line_costs_that_line(make_run: MakeRun) -> None:
    run = make_run()
    with run.metrics.open("a") as file:
        file.write('{"step": 25, "attempt": 2, "kl": 0.0')
    data = load(run)
    assert data.lines[-1]["step"] == 24
    assert data.notes == ("1 line of metrics.jsonl could not be read (a write that was cut off) and left out.",)


def test_lines_that_are_no_snapshots_are_left_out(make_run: MakeRun) -> None:
    run = make_run(last_step=2)
    with run.metrics.open("ab") as file:
        file.write(b'[1]\n{"kl": 1}\n{"step": "3", "attempt": 1}\n\xff\xfe\n\n')
    data = load(run)
    assert [line["step"] for line in data.lines] == [0, 1, 2]


def test_broken_records_are_noted_by_name(make_run: MakeRun) -> None:
    run = make_run(last_step=2)
    (run.resets / "quickstart-reset-3.json").write_text('{"name": "x"')
    run.status.write_text('{"step": "many"}')
    run.identity.write_text("[")
    run.manifest.write_text("kind: SomethingElse")
    data = load(run)
    assert len(data.resets) == 2
    assert (data.status, data.created, data.job, data.manifest) == (None, None, None, "kind: SomethingElse")
    assert [note.split()[0] for note in data.notes] == ["This", "quickstart-reset-3.json", "status.json"]


def test_values_that_are_no_numbers_are_absent() -> None:
    line = {"a": True, "b": "1", "c": None, "d": float("inf"), "e": 2}
    assert [value(line, name) for name in ("a", "b", "c", "d", "e", "f")] == [None, None, None, None, 2.0, None]


def test_not_a_number_in_a_line_file_is_absent(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.metrics.write_text('{"step": 1, "attempt": 1, "kl": NaN}\n{"step": 2, "attempt": 1, "kl": 1e999}\n')
    assert series(load(run).lines, "kl") == ([], [])


def test_sources_come_from_the_metric_names() -> None:
    lines = ({"accuracy_sampled/b": 1.0}, {"accuracy_sampled/a": 1.0, "accuracy_sampled/b": 1.0, "kl": 1.0})
    assert sources_of(lines, "accuracy_sampled") == ["b", "a"]


def _write_validation(run: RunFolder, *lines: dict[str, object]) -> None:
    run.samples.mkdir(parents=True, exist_ok=True)
    (run.samples / "validation-4.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_samples_of_an_item_are_averaged_and_the_unjudged_left_out(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    item = {"attempt": 1, "source": "a", "index": 0}
    _write_validation(
        run,
        {**item, "reward": 1.0},
        {**item, "reward": 0.0},
        {**item, "reward": None},
        {**item, "index": 1, "reward": None},
        {**item, "index": "x", "reward": 1.0},
    )
    assert validation_rewards(run, {4: 1}) == {4: {("a", 0): 0.5}}


def test_samples_of_an_attempt_that_did_not_survive_are_left_out(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    old = {"attempt": 1, "source": "a", "index": 0, "reward": 0.0, "completion": "old"}
    _write_validation(run, old, {**old, "attempt": 2, "reward": 1.0, "completion": "new"})
    assert validation_rewards(run, {4: 2}) == {4: {("a", 0): 1.0}}
    assert validation_rewards(run, {3: 2}) == {}
    found = validation_completions(run, {4: 2}, [4], {("a", 0)})
    assert found[(4, ("a", 0))].text == "new"


def test_training_groups_are_whole(make_run: MakeRun) -> None:
    run = make_run()
    groups = training_groups(run, load(run).timeline, 6, most=1)
    assert list(groups) == [("addition", 12)]
    assert [found.reward for found in groups[("addition", 12)]] == [1, 0, 0, 1, 0, 0, 1, None]


def test_resets_of_a_run_in_a_cluster_come_from_the_learner_s_log_by_their_names(make_run: MakeRun) -> None:
    run = make_run(last_step=12, resets=())
    command = {"uid": "u-1", "name": "job-reset-4", "trigger": "kl-spike: KL averaged 0.5 nats over steps 2-4"}
    again = [{"event": "intent", "step": 9, "command": command, "digest_after": "a" * 64}] * 2
    run.reset_log.write_text("".join(json.dumps(line) + "\n" for line in again))
    (record,) = load(run).resets
    assert (record.name, record.applied_step, record.digest_after) == ("job-reset-4", 9, "a" * 64)
    assert (record.evidence.trigger, record.evidence.reason) == ("kl-spike", "KL averaged 0.5 nats over steps 2-4")
    assert records_of(run.path) == (record,), "`prorl resets list` tells the same"


def test_a_body_s_own_records_are_preferred_to_the_learner_s_log(make_run: MakeRun) -> None:
    run = make_run(last_step=12)
    command = {"uid": "u-1", "name": "job-reset-4"}
    run.reset_log.write_text(json.dumps({"event": "intent", "step": 9, "command": command}) + "\n")
    assert [record.name for record in load(run).resets] == ["quickstart-reset-1", "quickstart-reset-2"]


def test_a_log_of_resets_that_cannot_be_understood_costs_the_resets_alone(make_run: MakeRun) -> None:
    run = make_run(last_step=12, resets=())
    run.reset_log.write_text(json.dumps({"event": "intent", "step": 9, "command": {"uid": 7}}) + "\n")
    data = load(run)
    assert data.resets == ()
    assert any(run.reset_log.name in note for note in data.notes)
    with pytest.raises(RunFolderError, match=run.reset_log.name):
        records_of(run.path)
