"""TensorBoard's event files, written with its own library, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prorl_trainer.tracking.timeline import Row
from prorl_trainer.tracking.tracker import TrackedRun, library

_FILE_VERSION = "brain.Event:2"
"""The first that knows session logs, by which steps are taken back."""


class TensorBoardTracker:
    """One more event file an attempt; a start mark at a step makes readers drop that step and all after it."""

    def __init__(self) -> None:
        self._writer: Any = None
        self._events: Any = None
        self._summaries: Any = None
        self._tensors: Any = None

    def open(self, run: TrackedRun, told_step: int) -> str:
        """See `Tracker.open`."""
        writers = library("tensorboard.summary.writer.event_file_writer", "tensorboard")
        self._events = library("tensorboard.compat.proto.event_pb2", "tensorboard")
        self._summaries = library("tensorboard.compat.proto.summary_pb2", "tensorboard")
        self._tensors = library("tensorboard.compat.proto.tensor_pb2", "tensorboard")
        self._writer = writers.EventFileWriter(str(run.folder))
        self._writer.add_event(self._events.Event(file_version=_FILE_VERSION))
        # What was written after the last mark, by a process that was killed, is told again.
        self.rewind(told_step + 1)
        if told_step < 0:
            table = "\n".join(f"| {name} | {value} |" for name, value in run.settings.items())
            self._text(0, 0.0, "settings", f"| setting | value |\n|---|---|\n{table}")
        self._writer.flush()
        return f"tensorboard --logdir {run.folder.parent}"

    def last_step(self) -> int | None:
        """See `Tracker.last_step`."""
        return None

    def rewind(self, step: int) -> None:
        """See `LiveTracker.rewind`."""
        start = self._events.SessionLog(status=self._events.SessionLog.START)
        self._writer.add_event(self._events.Event(step=max(step, 0), session_log=start))

    def write(self, rows: Sequence[Row]) -> None:
        """See `Tracker.write`."""
        for row in rows:
            values = [self._summaries.Summary.Value(tag=name, simple_value=item) for name, item in row.values.items()]
            summary = self._summaries.Summary(value=values)
            self._writer.add_event(self._events.Event(wall_time=row.time, step=row.step, summary=summary))
            for name, text in row.texts.items():
                self._text(row.step, row.time, name, text)
        self._writer.flush()

    def close(self, *, is_done: bool) -> None:
        """See `Tracker.close`."""
        if self._writer is not None:
            self._writer.close()

    def _text(self, step: int, time: float, name: str, text: str) -> None:
        summaries = self._summaries
        plugin = summaries.SummaryMetadata(plugin_data=summaries.SummaryMetadata.PluginData(plugin_name="text"))
        tensor = self._tensors.TensorProto(dtype="DT_STRING", string_val=[text.encode()])
        tensor.tensor_shape.dim.add(size=1)
        value = summaries.Summary.Value(tag=name, metadata=plugin, tensor=tensor)
        event = self._events.Event(wall_time=time, step=step, summary=summaries.Summary(value=[value]))
        self._writer.add_event(event)
