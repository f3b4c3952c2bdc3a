"""Checkpoints that are written while training goes on: what waits, what is removed when, what an error ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch

from prorl_api.errors import CheckpointError
from prorl_api.run_folder import RunFolder
from prorl_api.spec.run import CheckpointSpec
from prorl_trainer.checkpointing import Checkpointer
from prorl_trainer.clock import StepClock
from prorl_trainer.parts import LearnerParts
from prorl_trainer.storage.checkpoints import BestPolicy, CheckpointStore, LearnerState
from prorl_trainer.storage.journal import Journal
from prorl_trainer.storage.references import ReferenceStore
from tests.unit.trainer.http_apps import wait_until
from tests.unit.trainer.trainer_builders import begin_attempt, make_group, make_shared_status, make_state

KEEP_ONE = CheckpointSpec(every_steps=2, keep=1)
EXPORTING = CheckpointSpec(every_steps=2, keep=1, export_best=True)


class Engine:
    """Its state is one number; a write waits until the test lets it go on, and may fail."""

    def __init__(self) -> None:
        self.number = 0
        self.reference_is_unkept = False
        self.may_write = threading.Event()
        self.may_write.set()
        self.failure: OSError | None = None

    def begin_save(self, folder: Path) -> Callable[[], None]:
        return partial(self._write, folder, self.number)

    def _write(self, folder: Path, number: int) -> None:
        assert self.may_write.wait(120)
        if self.failure is not None:
            raise self.failure
        (folder / "number").write_text(str(number))


class Export:
    def __init__(self) -> None:
        self.digests: list[str | None] = []

    def bring_up_to_date(self, digest: str | None) -> None:
        self.digests.append(digest)


class Bench:
    def __init__(self, folder: Path) -> None:
        fence = begin_attempt(folder)
        self.run = RunFolder(folder)
        self.run.references.mkdir()
        self.engine, self.export = Engine(), Export()
        self.checkpoints, self.references = CheckpointStore(fence), ReferenceStore(self.run)
        self.journal, self.status = Journal(fence), make_shared_status(1, 10)
        parts = SimpleNamespace(
            engine=self.engine,
            checkpoints=self.checkpoints,
            references=self.references,
            journal=self.journal,
            shared_status=self.status,
            best_export=self.export,
        )
        self.writer = Checkpointer(cast("LearnerParts", parts), StepClock())

    def reference(self, value: float) -> str:
        return self.references.add([("w", torch.full((3,), value))], attempt=1)

    @property
    def kept(self) -> set[str]:
        return {path.name for path in self.run.references.iterdir()}

    @property
    def stored(self) -> str:
        current = self.checkpoints.current()
        assert current is not None
        return (self.checkpoints.engine_folder(current) / "number").read_text()

    def state(self, step: int, **fields: object) -> LearnerState:
        return make_state(step=step, **fields)

    def written_step(self) -> int | None:
        return self.status.status.last_checkpoint_step


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_the_step_goes_on_and_what_was_captured_is_what_is_written(bench: Bench) -> None:
    bench.engine.may_write.clear()
    bench.writer.begin(KEEP_ONE, bench.state(2))
    bench.engine.number = 9  # training goes on
    bench.writer.take_up(KEEP_ONE, bench.state(3))
    assert bench.checkpoints.current() is None
    bench.engine.may_write.set()
    wait_until(lambda: bench.written_step() == 2, 60)
    assert bench.stored == "0"
    bench.writer.close()


def test_the_next_one_waits_for_the_one_before(bench: Bench) -> None:
    bench.engine.may_write.clear()
    bench.writer.begin(KEEP_ONE, bench.state(2))
    begun: list[int] = []

    def next_one() -> None:
        bench.writer.begin(KEEP_ONE, bench.state(4))
        begun.append(4)

    thread = threading.Thread(target=next_one)
    thread.start()
    wait_until(lambda: "waiting" in bench.status.status.phase_detail, 60)
    assert not begun
    bench.engine.may_write.set()
    thread.join(60)
    assert begun == [4]
    bench.writer.finish(KEEP_ONE, bench.state(4))
    assert [path.name for path in bench.run.attempt(1).glob("checkpoints/*")] == ["step-4"]
    bench.writer.close()


def test_nothing_that_a_kill_would_need_is_removed_before_it_is_written(bench: Bench) -> None:
    """The journal of its steps, the checkpoint before it and that one's best policy. Newer weights stay after it."""
    base, old, new, newest = (bench.reference(value) for value in (0.0, 1.0, 2.0, 3.0))
    best = {step: BestPolicy(step=step, accuracy=step / 10, digest=digest) for step, digest in ((2, old), (4, new))}
    bench.writer.begin(KEEP_ONE, bench.state(2, reference_digest=base, best=best[2]))
    bench.writer.finish(KEEP_ONE, bench.state(2, reference_digest=base, best=best[2]))
    assert bench.kept == {base, old}
    for step in (3, 4, 5):
        bench.journal.append(step, make_group(), made_with="m")
    bench.reference(2.0)
    bench.reference(3.0)
    bench.engine.may_write.clear()
    bench.writer.begin(KEEP_ONE, bench.state(4, reference_digest=base, best=best[4]))
    now = bench.state(5, reference_digest=base, best=BestPolicy(step=5, accuracy=0.9, digest=newest))
    bench.writer.take_up(KEEP_ONE, now)
    current = bench.checkpoints.current()
    assert current is not None
    assert current.step == 2
    assert all(bench.journal.groups(step) for step in (3, 4, 5))
    assert bench.kept == {base, old, new, newest}
    bench.engine.may_write.set()
    wait_until(lambda: bench.written_step() == 4, 60)
    assert bench.journal.groups(3), "it is the main thread that removes"
    bench.writer.finish(KEEP_ONE, now)
    assert not any(bench.journal.groups(step) for step in (3, 4))
    assert bench.journal.groups(5), "of the step in progress"
    assert bench.kept == {base, new, newest}, "what the checkpoint needs, and what the run has found since"
    bench.writer.close()


def test_an_error_of_the_writer_ends_the_run_at_the_next_boundary(bench: Bench) -> None:
    bench.writer.begin(KEEP_ONE, bench.state(2))
    bench.writer.finish(KEEP_ONE, bench.state(2))
    bench.engine.failure = OSError(28, "No space left on device")
    bench.writer.begin(KEEP_ONE, bench.state(4))
    with pytest.raises(CheckpointError, match=r"step-4.*No space left on device.*Make room .*previous .* intact"):
        bench.writer.finish(KEEP_ONE, bench.state(5))
    current = bench.checkpoints.current()
    assert current is not None
    assert current.step == 2
    assert [path.name for path in bench.run.attempt(1).glob("checkpoints/*")] == ["step-2"]
    bench.writer.close()


def test_a_run_that_fails_of_something_else_lets_the_checkpoint_come_to_its_end(bench: Bench) -> None:
    bench.engine.may_write.clear()
    bench.writer.begin(KEEP_ONE, bench.state(2))
    closing = threading.Thread(target=bench.writer.close)
    closing.start()
    bench.engine.may_write.set()
    closing.join(60)
    assert bench.stored == "0"


def test_a_writer_that_fails_as_well_hides_no_other_error(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.engine.failure = OSError(28, "No space left on device")
    bench.writer.begin(KEEP_ONE, bench.state(2))
    bench.writer.close()
    assert "could not be written either" in caplog.text


def test_the_same_state_is_not_written_twice(bench: Bench) -> None:
    bench.writer.begin(KEEP_ONE, bench.state(2))
    bench.writer.finish(KEEP_ONE, bench.state(2))
    bench.engine.number = 1
    bench.writer.begin(KEEP_ONE, bench.state(2))
    bench.writer.finish(KEEP_ONE, bench.state(2))
    assert bench.stored == "0"
    bench.writer.begin(KEEP_ONE, bench.state(2, applied_resets=("uid",)))
    bench.writer.finish(KEEP_ONE, bench.state(2, applied_resets=("uid",)))
    assert bench.stored == "1"
    bench.writer.close()


def test_the_best_policy_of_a_written_checkpoint_is_exported_and_no_later_one(bench: Bench) -> None:
    first, second = (bench.reference(value) for value in (1.0, 2.0))
    captured = bench.state(2, best=BestPolicy(step=2, accuracy=0.1, digest=first))
    bench.writer.begin(EXPORTING, captured)
    assert bench.export.digests == []
    bench.writer.finish(EXPORTING, bench.state(3, best=BestPolicy(step=3, accuracy=0.2, digest=second)))
    assert bench.export.digests == [first]
    bench.writer.begin(EXPORTING, captured)
    assert bench.export.digests == [first, first], "a failed export is tried again"
    bench.writer.close()
