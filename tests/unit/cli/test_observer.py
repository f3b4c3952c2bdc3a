"""What a look at a local run keeps of it."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from prorl_api.run_folder import RunFolder
from prorl_api.spec.resets import ReferenceResetSpec
from prorl_api.wire.learner import MetricsSeries
from prorl_cli.local.interrupts import Interrupts
from prorl_cli.local.observer import Observer
from prorl_cli.local.peers import Peers
from prorl_cli.local.probes import Probes
from prorl_cli.local.processes import ProcessTable
from prorl_control.decision import LINES_FOR_STATUS
from tests.unit.cli.test_reset_keeping import make_plan


class _NoProcesses:
    """A table of processes of which none was started."""

    def observe(self, _: object) -> tuple[()]:
        return ()


def test_of_thousands_of_steps_the_newest_and_the_validations_are_kept(tmp_path: Path) -> None:
    observer = Observer(
        run=RunFolder(tmp_path),
        plan=make_plan(ReferenceResetSpec()),
        urls={},
        table=cast("ProcessTable", _NoProcesses()),
        probes=Probes(1),
        peers=cast("Peers", None),
    )
    for first in range(1, 3000, 10):
        lines = [{"step": step, "attempt": 0, "kl": 0.1} for step in range(first, first + 10)]
        lines[0]["validation_accuracy"] = 0.5
        observer.series.take(observer.series.next_question, MetricsSeries(steps=lines), float(first))
        seen = observer.observe((), float(first), interrupts=Interrupts())
    assert [line["step"] for line in seen.metrics[-2:]] == [2999, 3000]
    assert len(seen.metrics) >= LINES_FOR_STATUS
    validated = [line["step"] for line in observer.series.lines if "validation_accuracy" in line]
    assert validated == list(range(1, 3000, 10))
    assert len(observer.series.lines) < LINES_FOR_STATUS + 300 + 64
