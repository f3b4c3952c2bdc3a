"""`checkpoint.exportBest`: the best policy so far, as a folder beside the run, brought up to date at checkpoints."""

from __future__ import annotations

import logging
from pathlib import Path

from prorl_api.errors import ProRLError, StaleAttemptError
from prorl_api.export_record import RECORD_FILE, ExportRecord
from prorl_api.run_folder import RunFolder
from prorl_api.spec.job import ProRLJob
from prorl_trainer.export.exporting import describe_policy, export
from prorl_trainer.progress import beats_while_writing
from prorl_trainer.service.shared_status import SharedStatus
from prorl_trainer.storage.choice import BEST, choose_checkpoint

_logger = logging.getLogger(__name__)


class BestExport:
    """Looks at what is there and what should be, each time: a killed export is simply done again."""

    def __init__(self, run: RunFolder, job: ProRLJob, base: Path, status: SharedStatus) -> None:
        """Export policies trained from the model in `base`."""
        self._run, self._job, self._base, self._status = run, job, base, status

    def bring_up_to_date(self, digest: str | None) -> None:
        """Export the best policy unless that one is there already. A failure is told, and tried again next time.

        Args:
            digest: Of the best policy's weights; None: there is none yet.
        """
        if digest is None:
            return
        folder = self._run.exported_best
        there = _record(folder)
        if there is None or there.digest != digest:
            try:
                there = self._export(folder)
            except StaleAttemptError:
                raise
            except ProRLError as error:
                _logger.warning("the best policy could not be exported: %s; training goes on", error)
                self._status.update(export_problem=str(error)[:1024])
                return
        self._status.update(exported_best_step=there.step, export_problem="")

    def _export(self, folder: Path) -> ExportRecord:
        policy = describe_policy(
            self._run, choose_checkpoint(self._run, BEST), self._job, self._base, self._job.spec.model.path
        )
        folder.parent.mkdir(parents=True, exist_ok=True)
        with beats_while_writing(folder.parent, self._status.beat):
            record = export(policy, folder, may_replace=True)
        _logger.info("exported the best policy", extra={"step": record.step, "folder": str(folder)})
        return record


def _record(folder: Path) -> ExportRecord | None:
    try:
        return ExportRecord.model_validate_json((folder / RECORD_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
