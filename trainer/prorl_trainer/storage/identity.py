"""Whose run a folder holds, checked before an attempt touches it.

In a cluster the body cannot see the volume, so rank 0 does what `prorl run` does on one machine: a job that is
deleted and created again under its old name must not go on with the old run's weights unnoticed.
"""

from __future__ import annotations

import logging
import time

from pydantic import ValidationError

from prorl_api.errors import Fault, SpecError
from prorl_api.names import ANNOTATION_ADOPT_RUN, ENV_RUN_UID
from prorl_api.run_folder import RunFolder
from prorl_api.run_identity import RunIdentity
from prorl_api.wording import reason_of
from prorl_trainer.storage.durable import write_file

_logger = logging.getLogger(__name__)


def claim_run(run: RunFolder, uid: str, *, adopt: str = "", job: str | None = None) -> None:
    """Make sure that the folder is the run's own, and record that it is. To be called before the attempt's fence.

    Args:
        run: The folder; made if need be.
        uid: The run's. Empty: the body has seen to it, nothing is done.
        adopt: Uid of a run whose folder may be taken over.
        job: `namespace/name` of the job, for people who read the record.

    Raises:
        SpecError: The folder holds another run, or its record cannot be read; with the remedies.
        CheckpointError: It cannot be written.
    """
    if not uid:
        return
    run.create()
    recorded = _recorded(run)
    if recorded is None:
        identity = RunIdentity(uid=uid, created=time.time(), job=job)
    elif recorded.uid == uid:
        return
    elif recorded.uid == adopt:
        _logger.warning("taking over the run of %s", recorded.uid, extra={"run": str(run.path), "uid": uid})
        # The paths and the model of one machine mean nothing to a job whose paths are absolute.
        identity = RunIdentity(uid=uid, created=recorded.created, job=job)
    else:
        raise _refusal(f"{run.path} of run {recorded.uid}{_of_job(recorded)}, and this job is {uid}", recorded.uid)
    write_file(run.identity, identity.model_dump_json(indent=2))


def recorded_identity(run: RunFolder) -> RunIdentity | None:
    """Return whose run the folder holds; None where no record can be read."""
    try:
        return RunIdentity.model_validate_json(run.identity.read_text(encoding="utf-8"))
    except (OSError, ValidationError, UnicodeDecodeError):
        return None


def _recorded(run: RunFolder) -> RunIdentity | None:
    try:
        return RunIdentity.model_validate_json(run.identity.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if run.current.exists():
            raise _refusal(f"{run.path} with checkpoints and no {run.identity.name}") from None
        return None
    except (ValidationError, UnicodeDecodeError) as error:
        raise _refusal(f"{run.identity}, which is damaged ({reason_of(error)})") from error


def _of_job(recorded: RunIdentity) -> str:
    return f" (job {recorded.job})" if recorded.job else ""


def _refusal(got: str, recorded_uid: str | None = None) -> SpecError:
    other = "choose another metadata.name (spec.initFrom continues an earlier run's weights in a new one)"
    if recorded_uid is None:
        want = f"restore the file, or {other}"
    else:
        want = f"to go on with that run, annotate the job with {ANNOTATION_ADOPT_RUN}: {recorded_uid}; else {other}"
    return SpecError([Fault(path=ENV_RUN_UID, got=got, want=want)], source="the run folder")
