"""`python -m prorl_trainer`: one rank of the learner. Rank 0 runs the loop and the API, the others follow."""

from __future__ import annotations

import logging
import os
import signal
import sys
from typing import TYPE_CHECKING

from prorl_api.errors import (
    EngineMismatchError,
    ExitCode,
    MasteredError,
    NonFiniteError,
    NoSignalError,
    ProRLError,
    StaleAttemptError,
)
from prorl_api.process.ending import generic_code, say_end
from prorl_api.process.lifeline import hold_lifeline
from prorl_api.process.listen import listening_socket
from prorl_api.process.logs import configure_logging
from prorl_api.process.termination_message import tell_completed
from prorl_api.process.tokens import hold_tokens

if TYPE_CHECKING:
    from prorl_trainer.loop import Learner

_logger = logging.getLogger("prorl_trainer")
_FEW_CORES = 8

_EXIT_CODES: tuple[tuple[type[ProRLError], ExitCode], ...] = (
    (NoSignalError, ExitCode.NO_SIGNAL),
    (NonFiniteError, ExitCode.NON_FINITE),
    (EngineMismatchError, ExitCode.ENGINE_MISMATCH),
    (StaleAttemptError, ExitCode.STALE_ATTEMPT),
)


def main() -> ExitCode:
    """Run until the job is done, a stop was asked for, or the run cannot go on."""
    configure_logging("learner")
    hold_lifeline()
    hold_tokens()
    if os.getpid() == 1:
        # To a container's first process the kernel delivers no signal without a handler, and so far nothing is lost.
        signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))
    if (os.cpu_count() or 1) <= _FEW_CORES:
        # Learner and rollout engine take turns on the same cores: threads that spin at barriers would steal from the
        # one whose turn it is. OpenMP reads this when torch is imported, which is after this line.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        return _run()
    except Exception as error:  # noqa: BLE001 - the process's edge: it becomes an exit code and the last words
        say_end(error, "prorl_trainer", _logger)
        return _code_of(error)


def _code_of(error: Exception) -> ExitCode:
    """Return the code of the first kind that an error, or one within a group of them, is of."""
    for kind, code in _EXIT_CODES:
        if isinstance(error, kind) or (isinstance(error, ExceptionGroup) and error.subgroup(kind) is not None):
            return code
    return generic_code(error)


def _run() -> ExitCode:
    from prorl_trainer.engines.gpu_use import refuse_unused_gpu
    from prorl_trainer.engines.ranks import follow
    from prorl_trainer.live_spec import LiveSpec
    from prorl_trainer.model_folder import resolve_model
    from prorl_trainer.settings import LearnerSettings
    from prorl_trainer.setup import (
        build_learner,
        build_rank_engine,
        open_front,
        quiet_libraries,
        remove_weights,
    )

    settings = LearnerSettings.from_environment()
    quiet_libraries()
    live = LiveSpec(settings.manifest)
    spec = live.spec
    refuse_unused_gpu(spec.learner.resources, in_cluster=bool(settings.run_uid))
    model = resolve_model(spec.model.path, settings.manifest.parent)
    if settings.rank > 0:
        follow(build_rank_engine(settings, spec, model))
        return ExitCode.OK
    front = open_front(settings, live, model, listening_socket())
    signal.signal(signal.SIGTERM, lambda *_: front.shared_status.request_stop(checkpoint=True))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the body, which asks for a stop in good order
    try:
        learner = build_learner(settings, live, model, front)
        code = _train(learner)
        learner.parts.engine.close()
        tell_completed(front.shared_status.status.step, front.shared_status.status.total_steps)
        if settings.final_report_seconds and not front.shared_status.wait_until_told(settings.final_report_seconds):
            _logger.warning("nobody asked for the last metrics and resets within %g s", settings.final_report_seconds)
    except ProRLError as error:
        front.shared_status.update(error=str(error))
        raise
    finally:
        remove_weights(front)
    return code


def _train(learner: Learner) -> ExitCode:
    """Run the loop; the two good ends have codes of their own. Trackers are told the last steps, however it ends."""
    try:
        learner.run()
    except MasteredError as error:
        _logger.warning("%s", error)
        return ExitCode.MASTERED
    finally:
        learner.parts.shared_status.update(trackers=learner.parts.trackers.close())
    if learner.is_evaluation and learner.state.recorded_step < 0:
        # Its steps are all done before it begins: success must not be what a body makes of its clean end.
        _logger.warning("stopped before the evaluation was done; started again it goes on with what was sampled")
        return ExitCode.FAILED
    return ExitCode.OK


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    sys.stderr.flush()
    # Threads of engines and servers must not keep a finished learner alive.
    os._exit(code)
