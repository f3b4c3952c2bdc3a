"""Weights & Biases. Its rows cannot be taken back, so it is told settled steps; `step` is every chart's axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prorl_api.spec.tracking import WandbTracker as WandbSpec
from prorl_trainer.tracking.timeline import Row
from prorl_trainer.tracking.tracker import TrackedRun, TrackerError, library

_START_SECONDS = 60


class WandbTracker:
    """One run of the service, or files in the run folder for `wandb sync`.

    Files are whole once they are finished, not before: each batch of offline rows is a file of its own.
    """

    def __init__(self, spec: WandbSpec) -> None:
        self._spec = spec
        self._tracked: TrackedRun | None = None
        self._run: Any = None

    @property
    def _is_offline(self) -> bool:
        return self._spec.mode == "offline"

    def open(self, run: TrackedRun, told_step: int) -> str:
        """See `Tracker.open`."""
        self._tracked = run
        if self._is_offline:
            library("wandb", "wandb")
            return f"wandb sync --append {run.folder}/wandb/offline-run-*"
        self._begin(run)
        return str(self._run.url)

    def last_step(self) -> int | None:
        """See `Tracker.last_step`. Of offline files nobody can tell."""
        if self._is_offline:
            return None
        step = self._run.summary.get("step")
        return int(step) if isinstance(step, int | float) else None

    def write(self, rows: Sequence[Row]) -> None:
        """See `Tracker.write`."""
        assert self._tracked is not None
        if self._run is None:
            self._begin(self._tracked)
        for row in rows:
            self._run.log({"step": row.step, "time": row.time, **row.values, **row.texts})
        if self._is_offline:
            self._finish(exit_code=0)
        else:
            self.last_step()  # an answer comes once the service's process has taken all that was sent before

    def close(self, *, is_done: bool) -> None:
        """See `Tracker.close`. An exit code marks the run as failed until it goes on."""
        self._finish(exit_code=0 if is_done else 1)

    def _begin(self, run: TrackedRun) -> None:
        wandb = library("wandb", "wandb")
        try:
            self._run = wandb.init(
                project=self._spec.project,
                entity=self._spec.entity,
                id=run.uid.lower(),
                name=run.job,
                resume="allow",
                mode=self._spec.mode,
                dir=str(run.folder),
                config=dict(run.settings),
                settings=wandb.Settings(
                    silent=True, console="off", disable_git=True, save_code=False, init_timeout=_START_SECONDS
                ),
            )
        except wandb.errors.Error as error:
            raise TrackerError(
                f"wandb: {error}; set WANDB_API_KEY (in a cluster a key of the Secret spec.tracking.secretName), or "
                "log in with `wandb login`; without a network: mode: offline"
            ) from error
        self._run.define_metric("*", step_metric="step")

    def _finish(self, *, exit_code: int) -> None:
        if self._run is not None:
            self._run.finish(exit_code=exit_code)
            self._run = None
