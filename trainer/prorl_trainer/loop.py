"""The training loop.

Two threads. The main thread owns the engine, the state and the checkpoints and does one thing after another. The event
loop's thread (`IoLoop`) owns everything that speaks HTTP: the API, the clients, the registry of rollout servers.

    main thread                          event loop
    sample    ──── coroutine ───►        prompts to rollout servers, completions to sandboxes, groups to the journal
              ◄──── groups ──────
    score, update                        answers the body's questions and the servers' heartbeats
    publish   ──── coroutine ───►        every rollout server loads the weights
              ◄──── how many ────
    validate  ──── coroutine ───►        as for sampling, with held-out prompts
              ◄──── groups ──────
    boundary  ◄── ResetQueue, SharedStatus: what was posted meanwhile

A third thread writes checkpoints that the main thread has captured (`Checkpointer`).

The main thread waits for the event loop, in `_interruptible` alone, where a stop cancels what it waits for. The event
loop never waits for the main thread; what both touch is behind locks (`SharedStatus`, `ResetQueue`).

Two back edges. Weights go to the rollout servers after every step, so every batch is sampled by the weights of the step
before, never older. Resets, stops and edits of the manifest come in between two steps.

Single events do not end a run: a sampling in which no group has a signal is followed by another with the next prompts,
a minibatch that is not finite is skipped. Several in a row do, after a checkpoint from which none of them is repeated.

Departures from ProRL's setup (verl): the reference's log-probabilities are computed by the learner, per batch, in its
own precision; a step that finds fewer groups than asked for in the allowed rounds trains on those it found.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Coroutine
from concurrent.futures import CancelledError
from dataclasses import replace
from typing import Any, TypeVar

from prorl_api.errors import EngineMismatchError, MasteredError
from prorl_api.spec.job import ProRLJobSpec
from prorl_api.spec.merge import spec_at, stage_at
from prorl_api.wire.learner import LearnerPhase
from prorl_trainer.algorithm.scoring import score
from prorl_trainer.algorithm.types import SampledStep, ScoredGroup, StepMetrics
from prorl_trainer.averaged_reference import follow_policy
from prorl_trainer.checkpointing import Checkpointer
from prorl_trainer.clock import StepClock
from prorl_trainer.engine_mismatch import make_probe, raise_if_mismatched
from prorl_trainer.engines.build import DTYPES
from prorl_trainer.live_spec import LiveSpec
from prorl_trainer.no_signal_words import remark_on, without_signal
from prorl_trainer.optimizer_steps import divergence, take_optimizer_steps
from prorl_trainer.parts import LearnerParts
from prorl_trainer.progress import with_beats
from prorl_trainer.reference_reset import apply_resets, enter_stage
from prorl_trainer.resume import spec_revision
from prorl_trainer.sample_files import empty_lines, training_lines, validation_lines
from prorl_trainer.service.publisher import Published
from prorl_trainer.service.shared_status import StopRequested
from prorl_trainer.step_metrics import masked_metrics, merged, sampling_metrics
from prorl_trainer.storage.checkpoints import BestPolicy, LearnerState
from prorl_trainer.validation import Items, validate

T = TypeVar("T")
_logger = logging.getLogger(__name__)
PUBLISH_TIMEOUT_SECONDS = 600.0


class Learner:
    """Rank 0 of one attempt of a run."""

    def __init__(self, live: LiveSpec, parts: LearnerParts, state: LearnerState) -> None:
        """Continue from `state`, which the engine in `parts` already holds."""
        self._live = live
        self.parts = parts
        self.state = state
        self.clock = StepClock()
        self._without_signal: SampledStep | None = None
        self._checkpoints = Checkpointer(parts, self.clock)
        self._must_checkpoint = False
        self._last_validation: Items | None = None

    @property
    def spec(self) -> ProRLJobSpec:
        """The spec as it holds now; it changes between steps alone."""
        return self._live.spec

    @property
    def is_evaluation(self) -> bool:
        """Whether there is nothing to train: the policy is validated once."""
        return self.spec.schedule.total_steps == 0

    def run(self) -> None:
        """Train until the last step or until a stop is asked for; a checkpoint is on the disk either way.

        Raises:
            MasteredError: There is nothing left to learn; the learner is done.
            NoSignalError, RewardError, NonFiniteError, CheckpointError, StaleAttemptError: The run cannot go on.
        """
        try:
            self._run()
        finally:
            self._checkpoints.close()

    def _run(self) -> None:
        try:
            self._train()
        except StopRequested:
            _logger.info("stopped on request", extra={"step": self.state.step})
            self._must_checkpoint = self.parts.shared_status.stop_with_checkpoint
        except MasteredError:
            self.parts.shared_status.enter(LearnerPhase.DONE)
            raise
        has_finished = self.state.step >= self.spec.schedule.total_steps
        if self._must_checkpoint or (has_finished and not self.is_evaluation):  # which leaves nothing to resume
            self._checkpoint()
        self._checkpoints.finish(self.spec.checkpoint, self.state)
        self.parts.shared_status.enter(LearnerPhase.DONE)

    def _train(self) -> None:
        if self.spec.init_from is not None and self.parts.checkpoints.current() is None:
            self._checkpoint()  # from here on the other run may move on, or go
        with self.clock.part("waiting"):
            self._await_judges()
        published = self._publish(LearnerPhase.WAITING_FOR_ROLLOUT, "publishing the first weights")
        if self.state.unrecorded is not None:
            self._validate_and_record(published, StepMetrics(values=dict(self.state.unrecorded)))
        self._boundary()
        while self.state.step < self.spec.schedule.total_steps:
            published = self._step(published)
            self._boundary()

    def _await_judges(self) -> None:
        """Wait for a sandbox: nothing is sampled before there is somebody to judge it."""
        shared_status = self.parts.shared_status
        shared_status.enter(LearnerPhase.WAITING_FOR_SANDBOX)
        shared_status.update(isolation=self._interruptible(self.parts.judges.wait_until_fit(shared_status.beat)))

    def _step(self, published: Published) -> Published:
        """Train one step and publish what came of it; or only look at prompts, if none has a signal."""
        step = self.state.step + 1
        spec = spec_at(self.spec, step)
        sampled = self._sample(spec, step, published)
        if not sampled.kept:
            self._pass_over(spec, step, sampled)
            return published
        self._without_signal = None
        groups = score(spec, step, sampled.kept)
        metrics = self._update(spec, step, sampled, groups)
        self._require_agreement(spec, step, metrics)
        metrics.add(policy_version=published.manifest.weights_id.step)
        self.state = replace(
            self.state, step=step, next_prompt_index=sampled.next_prompt_index, unrecorded=metrics.finite()
        )
        self._raise_if_diverged()
        published = self._publish(LearnerPhase.PUBLISHING)
        self._validate_and_record(published, metrics)
        return published

    def _sample(self, spec: ProRLJobSpec, step: int, published: Published) -> SampledStep:
        """Sample the step's groups, from where an earlier sampling of the same step ended if it found nothing."""
        self.parts.shared_status.enter(LearnerPhase.SAMPLING)
        earlier = self._without_signal
        first_index = self.state.next_prompt_index if earlier is None else earlier.next_prompt_index
        with self.clock.part("sampling"):
            sampled = self._interruptible(
                self.parts.step_sampler.sample(
                    spec, step, first_index, published.manifest.weights_id, remark_on(earlier, spec)
                )
            )
        return sampled if earlier is None else sampled.after(earlier)

    def _pass_over(self, spec: ProRLJobSpec, step: int, sampled: SampledStep) -> None:
        """Go on with the next prompts, unless sampling after sampling found nothing.

        The state stays as it is, so that a resumed step finds the same groups in its journal. The end of a run writes a
        checkpoint from which it would go on with prompts that nobody has looked at.

        Raises:
            NoSignalError: There is nothing to learn from, or nothing left.
        """
        self._without_signal = sampled
        limit = spec.algorithm.dynamic_sampling.max_empty_samplings
        _logger.warning("sampling %d of %d without a signal", sampled.num_empty + 1, limit, extra={"step": step})
        self.parts.samples.write(f"train-{step}.jsonl", empty_lines(sampled.shown, step, self.state.attempt))
        if sampled.num_empty + 1 < limit:
            return
        self.state = replace(self.state, next_prompt_index=sampled.next_prompt_index)
        self._checkpoint()
        self.parts.journal.drop(step)
        raise without_signal(sampled, spec, step)

    def _update(self, spec: ProRLJobSpec, step: int, sampled: SampledStep, groups: list[ScoredGroup]) -> StepMetrics:
        """Take all optimizer steps of one batch."""
        self.parts.shared_status.enter(LearnerPhase.UPDATING)
        self.state, trained = take_optimizer_steps(spec, groups, self.state, self.parts, self.clock)
        with self.clock.part("updating"):
            follow_policy(self.spec, self.parts)
        unjudged = [group for group in sampled.shown if group.summary.masked]
        lines = (training_lines(groups, step, self.state.attempt), empty_lines(unjudged, step, self.state.attempt))
        self.parts.samples.write(f"train-{step}.jsonl", itertools.chain(*lines))
        return merged(sampling_metrics(sampled), masked_metrics(sampled), trained)

    def _require_agreement(self, spec: ProRLJobSpec, step: int, metrics: StepMetrics) -> None:
        """End the run at the first step that was sampled by another policy than the one that was trained."""
        try:
            raise_if_mismatched(metrics, spec.algorithm, step)
        except EngineMismatchError:
            self.parts.journal.drop(step)  # so that the step is sampled anew once the engine is put right
            raise

    def _raise_if_diverged(self) -> None:
        """End a run that has diverged; the checkpoint holds the step, so that other prompts come after it.

        Raises:
            NonFiniteError: Too many minibatches in a row were skipped.
        """
        error = divergence(self.state)
        if error is not None:
            self.state = replace(self.state, not_finite_in_a_row=0)
            self._checkpoint()
            raise error

    def _publish(self, phase: LearnerPhase, detail: str = "") -> Published:
        """Offer the policy's weights and wait until at least one server serves them."""
        shared_status, parts = self.parts.shared_status, self.parts
        shared_status.enter(phase, detail)
        with self.clock.part("publishing"):
            probe = make_probe(parts.engine, parts.probe_tokens, self.spec.algorithm, self.state.step)
            weights = with_beats(parts.engine.served_weights(DTYPES[self.spec.rollout.dtype]), shared_status.beat)
            published = parts.publisher.publish(self.state.step, weights, probe)
            weights_id, sources = published.manifest.weights_id, parts.publisher.sources(published)
            parts.io.run(parts.want(weights_id, sources))
            served = self._interruptible(parts.rollouts.publish(weights_id, sources, PUBLISH_TIMEOUT_SECONDS))
        shared_status.update(weights_id=weights_id)
        if not served:
            shared_status.enter(LearnerPhase.WAITING_FOR_ROLLOUT, "no rollout server serves the weights yet")
            with self.clock.part("waiting"):
                self._interruptible(parts.rollouts.wait_ready())
        return published

    def _validate_and_record(self, published: Published, metrics: StepMetrics) -> None:
        """Validate if it is due, then write the step's one snapshot."""
        step, every = self.state.step, self.spec.validation.every_steps
        if step % every == 0 or step == self.spec.schedule.total_steps:
            with self.clock.part("validating"):
                self._validate(published, metrics)
        metrics.add(
            step=step,
            attempt=self.state.attempt,
            weights_changed=published.changed_fraction,
            resets_total=len(self.state.applied_resets),
            **self.clock.lap(),
        )
        stage = stage_at(self.spec, max(step, 1))
        line: dict[str, Any] = {**metrics.values, "step": step, "attempt": self.state.attempt, "time": time.time()}
        line["stage"] = stage.name if stage else ""
        offset = self.parts.metrics_file.append(line)
        # Not before: a run that is stopped in its last step has one left to record, and is not done.
        self.parts.shared_status.update(step=step)
        self.parts.shared_status.publish_metrics(line, offset)
        self.state = replace(self.state, unrecorded=None)
        shown = ("step", "reward_mean", "kl", "validation_accuracy")
        _logger.info("step done", extra={key: round(line[key], 4) for key in shown if key in line})

    def _validate(self, published: Published, metrics: StepMetrics) -> None:
        """Measure the policy on the held-out prompts, and keep it if it is the best so far."""
        step, parts = self.state.step, self.parts
        parts.shared_status.enter(LearnerPhase.VALIDATING)
        spec = spec_at(self.spec, max(step, 1))
        weights_id = published.manifest.weights_id
        result = self._interruptible(
            validate(parts.sampler, parts.journal, spec, parts.held_out, step, weights_id, self._last_validation)
        )
        if result is None:
            _logger.warning("validation after step %d has no scored sample", step)
            return
        self._last_validation = result.items
        metrics.add(validation_accuracy=result.accuracy)
        metrics.values |= result.noise
        metrics.values |= {f"validation_source_accuracy/{name}": value for name, value in result.by_source.items()}
        parts.samples.write(f"validation-{step}.jsonl", validation_lines(result.groups, step, self.state.attempt))
        best = self.state.best
        if best is None or result.accuracy > best.accuracy:
            best = BestPolicy(step=step, accuracy=result.accuracy, digest=parts.keep_policy(step))
            self.state = replace(self.state, best=best)
        parts.shared_status.update(best_accuracy=best.accuracy, best_step=best.step)

    def _boundary(self) -> None:
        """Between two steps: take up edits of the manifest and resets, write a checkpoint, stop."""
        shared_status, parts = self.parts.shared_status, self.parts
        parts.fence.check()
        self._checkpoints.take_up(self.spec.checkpoint, self.state)
        if self._live.refresh():
            shared_status.update(total_steps=self.spec.schedule.total_steps)
            self.state = replace(self.state, spec_revision=spec_revision(self.spec))
        with self.clock.part("resetting"):
            self.state = enter_stage(self.spec, self.state, parts)
            self.state, applied = apply_resets(self.state, parts)
        if applied:
            self._checkpoint()  # no reset is acknowledged that a kill could undo
        elif self._checkpoints.is_due(self.spec.checkpoint, self.state):
            self.state = self._checkpoints.begin(self.spec.checkpoint, self.state)
        for command, before, after in applied:
            parts.reset_queue.applied(command, step=self.state.step, before=before, after=after)
        shared_status.update(trackers=parts.trackers.states())
        if shared_status.is_stopping:
            raise StopRequested

    def _checkpoint(self) -> None:
        """Write a checkpoint, and wait until it is on the disk."""
        self.state = self._checkpoints.begin(self.spec.checkpoint, self.state)
        self._checkpoints.finish(self.spec.checkpoint, self.state)

    def _interruptible(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the event loop and wait for it; a stop request cancels it."""
        future = self.parts.io.submit(coroutine)
        self.parts.shared_status.on_stop(future.cancel)
        try:
            return future.result()
        except CancelledError:
            raise StopRequested from None
