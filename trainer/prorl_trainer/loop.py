"""The training loop.

Back edges, all explicit: weights to the rollout servers after every step (`_publish`); resets and stops from outside
at step boundaries (`_boundary`); the journal into `_sample` after a resume. Departures from ProRL's setup (verl):
every batch is sampled by the weights of the step before, never older; the reference's log-probabilities are computed
by the learner, per batch, in its own precision; a step that finds fewer groups than asked for in the allowed rounds
trains on those it found.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Coroutine
from concurrent.futures import CancelledError
from typing import Any, TypeVar

from prorl_api.spec.job import ProRLJobSpec
from prorl_api.spec.merge import spec_at, stage_at
from prorl_api.wire.learner import LearnerPhase
from prorl_trainer.algorithm.advantages import batch_advantages
from prorl_trainer.algorithm.dynamic_sampling import is_scored
from prorl_trainer.algorithm.learning_rate import learning_rate
from prorl_trainer.algorithm.length_shaping import shaped_reward
from prorl_trainer.algorithm.packing import build_batch
from prorl_trainer.algorithm.types import SampledStep, ScoredGroup, StepMetrics
from prorl_trainer.clock import StepClock
from prorl_trainer.live_spec import LiveSpec
from prorl_trainer.parts import LearnerParts
from prorl_trainer.reference_reset import apply_resets, enter_stage, needs_reference
from prorl_trainer.resume import spec_revision
from prorl_trainer.sample_files import training_lines, validation_lines
from prorl_trainer.service.publisher import Published
from prorl_trainer.service.shared_status import StopRequested
from prorl_trainer.step_metrics import merged, sampling_metrics, training_metrics
from prorl_trainer.storage.checkpoints import BestPolicy, LearnerState
from prorl_trainer.validation import validate

T = TypeVar("T")
_logger = logging.getLogger(__name__)
PUBLISH_TIMEOUT_SECONDS = 600.0


class Learner:
    """One attempt of a run, rank 0."""

    def __init__(self, live: LiveSpec, parts: LearnerParts, state: LearnerState) -> None:
        """Continue from `state`, which the engine in `parts` already holds."""
        self._live = live
        self.parts = parts
        self.state = state
        self.clock = StepClock()
        self._published: Published | None = None
        self._last_checkpoint_time = time.monotonic()
        self._must_checkpoint = False

    @property
    def spec(self) -> ProRLJobSpec:
        """As it holds now; it changes between steps alone."""
        return self._live.spec

    def run(self) -> None:
        """Train until the last step or until a stop is asked for; a checkpoint is written either way.

        Raises:
            NoSignalError, RewardError, NonFiniteError, CheckpointError, StaleAttemptError: The run cannot go on.
        """
        try:
            if self.spec.init_from is not None and self.parts.checkpoints.current() is None:
                self._checkpoint()  # from here on the other run may move on, or go
            self._await_judges()
            self._publish()
            if self.state.unrecorded is not None:
                self._validate_and_record(StepMetrics(values=dict(self.state.unrecorded)))
            self._boundary()
            while self.state.step < self.spec.schedule.total_steps:
                self._train_one_step()
                self._boundary()
        except StopRequested:
            _logger.info("stopped on request", extra={"step": self.state.step})
            self._must_checkpoint = self.parts.shared_status.stop_with_checkpoint
        if self._must_checkpoint or self.state.step >= self.spec.schedule.total_steps:
            self._checkpoint()
        self.parts.shared_status.enter(LearnerPhase.DONE)

    def _await_judges(self) -> None:
        """Nothing is sampled before there is somebody to judge it."""
        shared_status = self.parts.shared_status
        shared_status.enter(LearnerPhase.WAITING_FOR_SANDBOX)
        shared_status.update(isolation=self._interruptible(self.parts.judges.wait_until_fit(shared_status.beat)))

    def _train_one_step(self) -> None:
        step = self.state.step + 1
        spec = spec_at(self.spec, step)
        sampled = self._sample(spec, step)
        groups = self._score(spec, step, sampled)
        metrics = self._update(spec, step, sampled, groups)
        changes = {"step": step, "next_prompt_index": sampled.next_prompt_index, "unrecorded": metrics.finite()}
        self.state = self.state.model_copy(update=changes)
        self.parts.shared_status.update(step=step)
        self._publish()
        self._validate_and_record(metrics)

    def _sample(self, spec: ProRLJobSpec, step: int) -> SampledStep:
        assert self._published is not None
        weights_id = self._published.manifest.weights_id
        self.parts.shared_status.enter(LearnerPhase.SAMPLING)
        with self.clock.part("sampling"):
            return self._interruptible(
                self.parts.step_sampler.sample(spec, step, self.state.next_prompt_index, weights_id)
            )

    def _score(self, spec: ProRLJobSpec, step: int, sampled: SampledStep) -> list[ScoredGroup]:
        """Shape rewards, then fix the advantages of the whole batch."""
        limit = spec.rollout.max_completion_tokens
        shaped = [
            tuple(
                None
                if rollout.reward is None
                else shaped_reward(
                    spec.algorithm.length,
                    rollout.reward,
                    num_tokens=rollout.num_tokens,
                    limit_tokens=limit,
                    is_truncated=rollout.is_truncated,
                    step=step,
                )
                for rollout in group.rollouts
            )
            for group in sampled.kept
        ]
        advantages = batch_advantages(spec.algorithm.advantage, shaped)
        return [
            ScoredGroup(group=group, advantages=fixed, shaped_rewards=rewards)
            for group, fixed, rewards in zip(sampled.kept, advantages, shaped, strict=True)
            if is_scored(group.rewards)
        ]

    def _update(self, spec: ProRLJobSpec, step: int, sampled: SampledStep, groups: list[ScoredGroup]) -> StepMetrics:
        """All optimizer steps of one batch."""
        shared_status, engine = self.parts.shared_status, self.parts.engine
        shared_status.enter(LearnerPhase.UPDATING)
        batch = build_batch(
            groups,
            minibatch_prompts=spec.learner.minibatch_prompts,
            microbatch_tokens=spec.learner.microbatch_tokens,
            num_ranks=self.parts.num_ranks,
            aggregation=spec.algorithm.loss_aggregation,
            temperature=spec.rollout.temperature,
        )
        prepared = engine.prepare(batch, needs_reference(spec))
        updates = []
        rate = 0.0
        with self.clock.part("updating"):
            for index in range(len(batch.minibatches)):
                rate = learning_rate(spec.learner.optimizer, self.state.optimizer_steps_since_clear)
                updates.append(engine.update(index, spec.algorithm, rate, step))
                done = self.state.optimizer_steps_since_clear + 1
                self.state = self.state.model_copy(update={"optimizer_steps_since_clear": done})
                shared_status.beat(f"optimizer step {index + 1} of {len(batch.minibatches)}")
        assert self._published is not None
        metrics = merged(sampling_metrics(sampled), training_metrics(groups, batch, updates), prepared)
        metrics.add(learning_rate=rate, policy_version=self._published.manifest.weights_id.step)
        self.parts.samples.write(f"train-{step}.jsonl", training_lines(groups, step, self.state.attempt))
        return metrics

    def _publish(self) -> None:
        """Offer the policy's weights and wait until at least one server serves them."""
        shared_status, parts = self.parts.shared_status, self.parts
        if self._published is None:  # servers start with these: the run has not begun
            shared_status.enter(LearnerPhase.WAITING_FOR_ROLLOUT, "publishing the first weights")
        else:
            shared_status.enter(LearnerPhase.PUBLISHING)
        with self.clock.part("publishing"):
            published = parts.publisher.publish(self.state.step, parts.engine.weights())
            weights_id, sources = published.manifest.weights_id, parts.publisher.sources(published)
            parts.io.run(parts.want(weights_id, sources))
            served = self._interruptible(parts.rollouts.publish(weights_id, sources, PUBLISH_TIMEOUT_SECONDS))
        self._published = published
        shared_status.update(weights_id=weights_id)
        if not served:
            shared_status.enter(LearnerPhase.WAITING_FOR_ROLLOUT, "no rollout server serves the weights yet")
            self._interruptible(parts.rollouts.wait_ready())

    def _validate_and_record(self, metrics: StepMetrics) -> None:
        """Validate if it is due, then write the step's one snapshot."""
        step, every = self.state.step, self.spec.validation.every_steps
        if step % every == 0 or step == self.spec.schedule.total_steps:
            with self.clock.part("validating"):
                self._validate(metrics)
        assert self._published is not None
        stage = stage_at(self.spec, max(step, 1))
        metrics.add(
            step=step,
            attempt=self.state.attempt,
            weights_changed=self._published.changed_fraction,
            resets_total=len(self.state.applied_resets),
            **self.clock.lap(),
        )
        line: dict[str, Any] = {**metrics.values, "step": step, "attempt": self.state.attempt, "time": time.time()}
        line["stage"] = stage.name if stage else ""
        self.parts.metrics_file.append(line)
        self.parts.shared_status.publish_metrics(line)
        self.state = self.state.model_copy(update={"unrecorded": None})
        _logger.info(
            "step done",
            extra={
                key: round(line[key], 4) for key in ("step", "reward_mean", "kl", "validation_accuracy") if key in line
            },
        )

    def _validate(self, metrics: StepMetrics) -> None:
        assert self._published is not None
        step, parts = self.state.step, self.parts
        parts.shared_status.enter(LearnerPhase.VALIDATING)
        spec = spec_at(self.spec, max(step, 1))
        weights_id = self._published.manifest.weights_id
        result = self._interruptible(validate(parts.sampler, parts.journal, spec, parts.held_out, step, weights_id))
        if result is None:
            _logger.warning("validation after step %d has no scored sample", step)
            return
        metrics.add(validation_accuracy=result.accuracy)
        metrics.values |= {f"validation_source_accuracy/{name}": value for name, value in result.by_source.items()}
        parts.samples.write(f"validation-{step}.jsonl", validation_lines(result.groups, step, self.state.attempt))
        best = self.state.best
        if best is None or result.accuracy > best.accuracy:
            digest = parts.keep_policy(step)
            best = BestPolicy(step=step, accuracy=result.accuracy, digest=digest)
        self.state = self.state.model_copy(update={"best": best, "last_validation": result.accuracy})
        parts.shared_status.update(best_accuracy=best.accuracy, best_step=best.step)

    def _boundary(self) -> None:
        """Between two steps: edits of the manifest, resets, checkpoint, stop."""
        shared_status, parts = self.parts.shared_status, self.parts
        parts.fence.check()
        if self._live.refresh():
            shared_status.update(total_steps=self.spec.schedule.total_steps)
            self.state = self.state.model_copy(update={"spec_revision": spec_revision(self.spec)})
        self.state = enter_stage(self.spec, self.state, parts)
        self.state, applied = apply_resets(self.state, parts)
        settings = self.spec.checkpoint
        minutes = (time.monotonic() - self._last_checkpoint_time) / 60
        due = (self.state.step > 0 and self.state.step % settings.every_steps == 0) or minutes >= settings.every_minutes
        if applied or due:
            self._checkpoint()
        for command, before, after in applied:
            parts.reset_queue.applied(command, step=self.state.step, before=before, after=after)
        if shared_status.is_stopping:
            raise StopRequested

    def _checkpoint(self) -> None:
        parts, state = self.parts, self.state
        current = parts.checkpoints.current()
        if current is not None and parts.checkpoints.read_state(current) == state:
            return
        parts.shared_status.enter(LearnerPhase.CHECKPOINTING)
        with self.clock.part("checkpointing"):
            written = parts.checkpoints.write(state, parts.engine.save)
            parts.journal.forget(state.step)
            kept = parts.checkpoints.prune(self.spec.checkpoint.keep, written)
            parts.references.prune({digest for other in kept for digest in other.digests})
        self._last_checkpoint_time = time.monotonic()
        parts.shared_status.update(last_checkpoint_step=state.step)

    def _interruptible(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the event loop; a stop request cancels it."""
        future = self.parts.io.submit(coroutine)
        self.parts.shared_status.on_stop(future.cancel)
        try:
            return future.result()
        except CancelledError:
            raise StopRequested from None
