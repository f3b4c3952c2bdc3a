"""Line files, the journal and the references: what survives a kill, and what does not count."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest
import torch

from prorl_api.errors import CheckpointError, StaleAttemptError
from prorl_api.run_folder import RunFolder
from prorl_trainer.algorithm.types import RolloutGroup
from prorl_trainer.engines.weight_files import file_digest
from prorl_trainer.sample_files import SampleFolder
from prorl_trainer.storage.journal import Journal
from prorl_trainer.storage.lines import LineFile
from prorl_trainer.storage.references import ReferenceStore
from tests.unit.trainer.trainer_builders import begin_attempt, make_group, make_prompt, make_rollout, make_segment


def test_lines_are_read_back_in_order(tmp_path: Path) -> None:
    file = LineFile(tmp_path / "lines.jsonl")
    assert file.read() == []
    lines: list[dict[str, object]] = [{"step": 1, "text": "ü\u2028\n"}, {"step": 2}]
    for line in lines:
        file.append(line)
    assert file.read() == lines


def test_a_torn_last_line_is_ignored_and_cut_off_before_the_next(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b'{"step":1}\n{"step":2')
    assert LineFile(path).read() == [{"step": 1}]
    LineFile(path).append({"step": 3})
    assert path.read_bytes() == b'{"step":1}\n{"step":3}\n'


def test_an_overtaken_attempt_appends_nothing(tmp_path: Path) -> None:
    file = LineFile(tmp_path / "metrics.jsonl", begin_attempt(tmp_path, 1))
    file.append({"step": 1})
    begin_attempt(tmp_path, 2)
    with pytest.raises(StaleAttemptError):
        file.append({"step": 2})
    assert file.read() == [{"step": 1}]


def turns() -> RolloutGroup:
    """A rollout of several segments with float32 log-probabilities, and a masked one."""
    segments = (
        make_segment([7, 8], logprobs=[-0.25, -1.5]),
        make_segment([9], logprobs=[0.0], trained=False),
        make_segment([10], logprobs=[float(torch.tensor(-0.1))]),
    )
    rollouts = (make_rollout(*segments, text="grüße\n"), make_rollout(reward=None, truncated=True))
    return RolloutGroup(prompt=make_prompt(5), rollouts=rollouts, judge_seconds=0.5)


def journal_of(folder: Path, attempt: int) -> Journal:
    return Journal(begin_attempt(folder, attempt))


def replay(journal: Journal, step: int) -> dict[int, RolloutGroup]:
    return {index: journal.restore(line, make_prompt(index)) for (index, _), line in journal.groups(step).items()}


def test_a_group_comes_back_from_the_journal_as_it_was(tmp_path: Path) -> None:
    journal = journal_of(tmp_path, 1)
    journal.append(3, turns(), "settings")
    assert replay(journal, 3) == {5: turns()}
    assert replay(journal, 4) == {}


def test_the_next_attempt_takes_the_journal_over(tmp_path: Path) -> None:
    first = journal_of(tmp_path, 1)
    first.append(3, turns(), "settings")
    second = journal_of(tmp_path, 2)
    second.append(3, make_group(index=6), "settings")
    assert set(replay(second, 3)) == {5, 6}
    assert not RunFolder(tmp_path).journal(1).exists()
    assert set(replay(journal_of(tmp_path, 3), 3)) == {5, 6}


def test_an_overtaken_attempt_cannot_add_to_the_journal(tmp_path: Path) -> None:
    first = journal_of(tmp_path, 1)
    journal_of(tmp_path, 2)
    with pytest.raises(StaleAttemptError):
        first.append(3, turns(), "settings")


def test_a_kill_while_the_journal_is_taken_over_loses_nothing(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    journal_of(tmp_path, 1).append(3, turns(), "settings")
    # Killed while copying: half a copy under another name.
    begin_attempt(tmp_path, 2)
    (run.attempt(2) / "journal.partial").mkdir()
    assert set(replay(journal_of(tmp_path, 3), 3)) == {5}
    # Killed after the rename, before the old journal was dropped.
    shutil.copytree(run.journal(3), run.journal(2))
    journal = journal_of(tmp_path, 4)
    assert set(replay(journal, 3)) == {5}
    assert not run.journal(2).exists()
    assert not run.journal(3).exists()


def test_a_torn_journal_line_is_a_group_that_must_be_sampled_again(tmp_path: Path) -> None:
    first = journal_of(tmp_path, 1)
    first.append(3, turns(), "settings")
    first.append(3, make_group(index=6), "settings")
    file = RunFolder(tmp_path).journal(1) / "step-3.jsonl"
    file.write_bytes(file.read_bytes()[:-20])
    assert set(replay(journal_of(tmp_path, 2), 3)) == {5}


def test_steps_that_a_checkpoint_contains_are_forgotten(tmp_path: Path) -> None:
    journal = journal_of(tmp_path, 1)
    for step in (2, 3, 10):
        journal.append(step, turns(), "settings")
    journal.forget(3)
    assert [bool(journal.groups(step)) for step in (2, 3, 10)] == [False, False, True]
    journal.append(3, turns(), "settings")
    assert set(replay(journal, 3)) == {5}


WEIGHTS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2)}


def reference_store(folder: Path) -> ReferenceStore:
    RunFolder(folder).references.mkdir(parents=True, exist_ok=True)
    return ReferenceStore(RunFolder(folder))


def test_weights_are_kept_by_the_digest_of_their_bytes_and_once(tmp_path: Path) -> None:
    store = reference_store(tmp_path)
    digest = store.add(WEIGHTS.items(), attempt=1)
    assert digest == store.add(WEIGHTS.items(), attempt=2) == file_digest(store.file(digest))
    other = store.add({**WEIGHTS, "b": torch.zeros(2)}.items(), attempt=1)
    assert {path.name for path in RunFolder(tmp_path).references.iterdir()} == {digest, other}


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    store = reference_store(tmp_path)
    digest = store.add(WEIGHTS.items(), attempt=1)
    assert store.verified_file(digest) == store.file(digest)
    data = bytearray(store.file(digest).read_bytes())
    data[-1] ^= 1
    store.file(digest).write_bytes(data)
    with pytest.raises(CheckpointError, match="is damaged"):
        store.verified_file(digest)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=f"reference {'e' * 64} is missing"):
        reference_store(tmp_path).file("e" * 64)


def test_a_copy_from_another_run_has_the_same_digest(tmp_path: Path) -> None:
    other, own = reference_store(tmp_path / "other"), reference_store(tmp_path / "own")
    digest = other.add(WEIGHTS.items(), attempt=1)
    assert own.copy(other.file(digest), digest, attempt=1) == digest
    assert own.verified_file(digest).is_file()


def test_pruning_keeps_what_is_pinned(tmp_path: Path) -> None:
    store = reference_store(tmp_path)
    pinned = store.add(WEIGHTS.items(), attempt=1)
    store.add({"a": torch.zeros(1)}.items(), attempt=1)
    (RunFolder(tmp_path).references / "attempt-1.partial").mkdir()
    store.prune({pinned})
    assert [path.name for path in RunFolder(tmp_path).references.iterdir()] == [pinned]


def test_what_holds_answers_is_its_owners_alone(tmp_path: Path) -> None:
    fence = begin_attempt(tmp_path, 1)
    SampleFolder(tmp_path / "samples", fence).write("train-1.jsonl", [{"answer": "42"}])
    for folder in (tmp_path / "samples", RunFolder(tmp_path).attempt(1)):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    LineFile(tmp_path / "prompts.jsonl", is_private=True).append({"answer": "42"})
    assert stat.S_IMODE((tmp_path / "prompts.jsonl").stat().st_mode) == 0o600
