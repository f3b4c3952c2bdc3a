"""MLflow: metrics under their steps, settings as parameters, resets as a metric and a tag each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from prorl_api.spec.tracking import MlflowTracker as MlflowSpec
from prorl_trainer.tracking.timeline import RESET_REASON, Row
from prorl_trainer.tracking.tracker import TrackedRun, TrackerError, library

_UID = "prorl.uid"
_MAX_PARAMETER, _PARAMETERS_A_CALL, _METRICS_A_CALL = 500, 100, 1000
_STEP = "step"
"""Also a metric, by which it is known how far the run has come."""


class MlflowTracker:
    """One run of an experiment, on a server or in a file store."""

    def __init__(self, spec: MlflowSpec) -> None:
        self._spec = spec
        self._client: Any = None
        self._run_id = ""

    def open(self, run: TrackedRun, told_step: int) -> str:
        """See `Tracker.open`."""
        if self._spec.tracking_uri is None:
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        tracking, errors = library("mlflow.tracking", "mlflow"), library("mlflow.exceptions", "mlflow")
        uri = self._spec.tracking_uri or run.folder.resolve().as_uri()
        self._client = tracking.MlflowClient(tracking_uri=uri)
        try:
            self._run_id = self._found(run) or self._begun(run)
        except errors.MlflowException as error:
            raise TrackerError(
                f"mlflow: {error}; {uri} must be reachable; where it asks for them, set "
                "MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (in a cluster keys of "
                "the Secret spec.tracking.secretName)"
            ) from error
        return f"{uri}, experiment {self._spec.experiment}, run {self._run_id}"

    def last_step(self) -> int | None:
        """See `Tracker.last_step`."""
        history = self._client.get_metric_history(self._run_id, _STEP)
        return max((point.step for point in history), default=-1)

    def write(self, rows: Sequence[Row]) -> None:
        """See `Tracker.write`. The step itself comes last, so that a step counts once all of it is there."""
        entities = library("mlflow.entities", "mlflow")
        for row in rows:
            is_step = not row.texts.get(RESET_REASON)
            values = {**row.values, **({_STEP: float(row.step)} if is_step else {})}
            moment = int(row.time * 1000)
            metrics = [entities.Metric(name, item, moment, row.step) for name, item in values.items()]
            tags = [entities.RunTag(f"{name}.{row.step}", text) for name, text in row.texts.items()]
            for start in range(0, len(metrics), _METRICS_A_CALL):
                self._client.log_batch(self._run_id, metrics=metrics[start : start + _METRICS_A_CALL], tags=tags)

    def close(self, *, is_done: bool) -> None:
        """See `Tracker.close`. A run that is not done stays open, to go on."""
        if self._run_id and is_done:
            self._client.set_terminated(self._run_id, "FINISHED")

    def _experiment(self) -> str:
        found = self._client.get_experiment_by_name(self._spec.experiment)
        identity = found.experiment_id if found is not None else self._client.create_experiment(self._spec.experiment)
        return str(identity)

    def _found(self, run: TrackedRun) -> str | None:
        runs = self._client.search_runs([self._experiment()], f"tags.`{_UID}` = '{run.uid}'", max_results=1)
        return str(runs[0].info.run_id) if runs else None

    def _begun(self, run: TrackedRun) -> str:
        entities = library("mlflow.entities", "mlflow")
        made = self._client.create_run(self._experiment(), tags={"mlflow.runName": run.job, _UID: run.uid})
        parameters = [entities.Param(name, str(item)[:_MAX_PARAMETER]) for name, item in run.settings.items()]
        for start in range(0, len(parameters), _PARAMETERS_A_CALL):
            self._client.log_batch(made.info.run_id, params=parameters[start : start + _PARAMETERS_A_CALL])
        return str(made.info.run_id)
