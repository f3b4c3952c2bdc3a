"""`python -m prorl_trainer.tracking RUN MANIFEST NAME UID`: one tracker. Standard input ends with the learner."""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path

from prorl_api.manifest import read_job
from prorl_api.process.logs import configure_logging
from prorl_api.run_folder import RunFolder
from prorl_trainer.tracking.follower import Follower, watch_for_end
from prorl_trainer.tracking.tracker import make_tracker


def main() -> None:
    """Follow the run until the learner is gone."""
    run, manifest, name, uid = RunFolder(Path(sys.argv[1])), Path(sys.argv[2]), sys.argv[3], sys.argv[4]
    configure_logging(f"tracker {name}")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the body, which ends the learner in good order
    job = read_job(manifest)
    spec = next(tracker for tracker in job.spec.tracking.trackers if tracker.name == name)
    ended = watch_for_end(lambda: os.read(sys.stdin.fileno(), 4096))
    Follower(run, job, spec, uid, lambda: make_tracker(spec)).follow(ended)


if __name__ == "__main__":
    main()
    logging.shutdown()
    sys.stderr.flush()
    os._exit(0)  # threads of a tracker's library must not keep it
