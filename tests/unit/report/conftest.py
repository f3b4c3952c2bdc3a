"""Builders of run folders as a learner and a body would leave them, from made-up but plausible numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prorl_api.resets import Evidence, ResetCondition, ResetRecord
from prorl_api.run_folder import RunFolder
from prorl_api.spec.values import OptimizerAction, ResetSource
from prorl_api.status import Condition, ConditionStatus, ConditionType, JobStatus

CREATED = 1_790_000_000.0
UPDATED = CREATED + 512.0
MANIFEST = """\
# Two-digit arithmetic on one machine.
apiVersion: prorl.dev/v1alpha1
kind: ProRLJob
metadata: {name: quickstart}
spec:
  seed: 7
  model: {path: ./models/smollm2-135m-instruct}
  data:
    sources:
      - name: addition
        domain: logic
        reasoningGym: {tasks: [{name: chain_sum, config: {min_terms: 2, max_terms: 2}}]}
        answerFormat: first-integer
      - name: products
        domain: logic
        reasoningGym: {tasks: [{name: products}]}
        answerFormat: first-integer
        weight: 0.5
  rollout: {temperature: 1.0, maxPromptTokens: 64, maxCompletionTokens: 8, dtype: float32}
  learner:
    promptsPerStep: 16
    groupSize: 8
    minibatchPrompts: 8
    microbatchTokens: 1024
    optimizer: {learningRate: 0.00001}
  schedule: {totalSteps: 24}
  validation: {everySteps: 8, samplesPerPrompt: 1, temperature: 0, sources: [{name: addition, size: 400}]}
  referenceReset:
    cooldownSteps: 6
    triggers:
      - {name: kl-spike, klSpike: {above: 0.06, windowSteps: 3}}
      - {name: held-back, klSpike: {metric: klLossShare, above: 0.7, windowSteps: 3}}
"""

MakeRun = Callable[..., RunFolder]


def write_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def make_reset(*, number: int = 1, **changes: Any) -> ResetRecord:
    step = 8 * number + 1
    fields: dict[str, Any] = {
        "name": f"quickstart-reset-{number}",
        "number": number,
        "uid": f"01J0000000000000000000000{number}",
        "created": CREATED + 60.0 * number,
        "attempt": 1,
        "evidence_step": step - 1,
        "evidence": Evidence(
            trigger="kl-spike",
            metric="kl",
            rule="mean of kl over 3 steps above 0.06",
            steps=(step - 3, step - 2, step - 1),
            values=(0.0571, 0.0622, 0.0704),
            reason="KL to the reference averaged 0.0632 nats over 3 steps, above the bound 0.06.",
        ),
        "source": ResetSource.CURRENT,
        "optimizer": OptimizerAction.CLEAR,
        "condition": ResetCondition.APPLIED,
        "applied_step": step,
        "digest_before": f"{number:02x}" * 32,
        "digest_after": f"{number + 1:02x}" * 32,
        "validation_before": 0.42 + 0.05 * number,
        "validation_after": 0.47 + 0.05 * number,
    }
    return ResetRecord(**{**fields, **changes})


def make_status(summary: ConditionStatus = ConditionStatus.TRUE, **changes: Any) -> JobStatus:
    condition = Condition(
        type=ConditionType.SUCCEEDED,
        status=summary,
        reason="Completed" if summary is ConditionStatus.TRUE else "LearnerFailed",
        message="" if summary is ConditionStatus.TRUE else "the learner ran out of memory in step 24",
        last_transition_time=UPDATED,
    )
    fields: dict[str, Any] = {"conditions": (condition,), "step": 24, "total_steps": 24, "attempt": 2}
    return JobStatus(**{**fields, "updated": UPDATED, **changes})


def make_line(step: int, attempt: int, sources: dict[str, float], random: np.random.Generator) -> dict[str, Any]:
    """One line of metrics.jsonl; `sources` has the probability of a right answer."""
    if step == 0:
        return {"step": 0, "attempt": attempt, "seconds_total": 14.2, "seconds_validating": 14.1}
    since_reset = step - max(applied for applied in (0, 9, 17) if applied < step)
    sampled = {f"accuracy_sampled/{name}": chance + random.normal(0, 0.03) for name, chance in sources.items()}
    parts = {
        "seconds_sampling": 6.1 + random.normal(0, 0.3),
        "seconds_reference": 0.9,
        "seconds_old_logprobs": 0.8,
        "seconds_updating": 4.6 + random.normal(0, 0.2),
        "seconds_publishing": 0.6,
        "seconds_validating": 13.5 if step % 8 == 0 else 0.0,
        "seconds_checkpointing": 2.1 if step % 6 == 0 else 0.0,
    }
    return {
        "step": step,
        "attempt": attempt,
        **sampled,
        "reward_mean": float(np.mean(list(sampled.values()))),
        "kl": 0.0011 * since_reset**1.9 + abs(random.normal(0, 0.002)),
        "kl_loss_share": 0.08 * since_reset + abs(random.normal(0, 0.01)),
        "entropy": 1.1 * math.exp(-step / 30) + random.normal(0, 0.02),
        "clip_fraction_low": abs(random.normal(0.004, 0.001)),
        "clip_fraction_high": abs(random.normal(0.007, 0.002)),
        "gradient_norm": 1.4 + abs(random.normal(0, 0.4)),
        "mismatch_logprob": 0.009 + abs(random.normal(0, 0.001)),
        "completion_length": 4.4 + 0.03 * step + random.normal(0, 0.1),
        "truncated": abs(random.normal(0.03, 0.01)),
        "groups_kept": 0.72 - 0.006 * step + random.normal(0, 0.04),
        "weights_changed": 0.86 + random.normal(0, 0.02),
        "rollouts_masked": 0,
        **parts,
        "seconds_total": sum(parts.values()) + 0.3,
        "tokens_generated": 128 * 6,
        "tokens_prompt": 16 * 44,
        "tokens_trained": 620,
        "positions_trained": 1500,
    }


def make_validation(
    run: RunFolder, step: int, attempt: int, difficulty: dict[str, np.ndarray[Any, Any]], skill: float
) -> dict[str, float]:
    """Write a validation's samples: an item is right where skill exceeds its difficulty. Its metrics are returned."""
    lines, means = [], {}
    for source, items in difficulty.items():
        sign = "+" if source == "addition" else "×"
        rewards = [float(skill > item) for item in items]
        means[source] = float(np.mean(rewards))
        for index, reward in enumerate(rewards):
            left, right = index % 9 + 1, index * 7 % 9 + 1
            truth = left + right if source == "addition" else left * right
            lines.append(
                {
                    "step": step, "attempt": attempt, "source": source, "index": index, "sample": 0,
                    "prompt": f"<|im_start|>user\nWhat is {left} {sign} {right}?<|im_end|>\n"
                    "<|im_start|>assistant\nThe answer is",
                    "completion": f" {truth if reward else truth + 1}.<|im_end|>",
                    "reward": reward, "verdict": "correct" if reward else "wrong", "num_tokens": 4,
                }
            )  # fmt: skip
    write_lines(run.samples / f"validation-{step}.jsonl", lines)
    sizes = {source: len(items) for source, items in difficulty.items()}
    overall = sum(means[source] * size for source, size in sizes.items()) / sum(sizes.values())
    by_source = {f"validation_source_accuracy/{source}": mean for source, mean in means.items()}
    return {"validation_accuracy": overall, **by_source}


def make_training_samples(run: RunFolder, step: int, attempt: int, completion: str | None = None) -> None:
    lines = []
    for prompt_index, source in ((2 * step, "addition"), (2 * step + 1, "products")):
        for member in range(8):
            reward = float(member % 3 == 0)
            lines.append(
                {
                    "step": step, "attempt": attempt, "source": source, "prompt_index": prompt_index,
                    "prompt": f"What is {step} + {prompt_index}?",
                    "advantage": None if member == 7 else (reward - 3 / 7) / 0.495,
                    "completion": completion or f" {step + prompt_index + (0 if reward else member)}, because …",
                    "reward": None if member == 7 else reward, "finish_reason": "stop", "num_tokens": 5 + member,
                    "verdict": "judge-failed" if member == 7 else ("correct" if reward else "wrong"),
                    "detail": "timed out after 10 s" if member == 7 else "",
                }
            )  # fmt: skip
    write_lines(run.samples / f"train-{step}.jsonl", lines)


def build_run(
    path: Path,
    *,
    last_step: int = 24,
    sources: tuple[str, ...] = ("addition", "products"),
    resets: tuple[ResetRecord, ...] | None = None,
    status: JobStatus | None = None,
    seed: int = 0,
) -> RunFolder:
    """A quickstart that learnt, with a learner killed after step 14 and resumed from step 12."""
    run, random = RunFolder(path), np.random.default_rng(seed)
    path.mkdir(parents=True, exist_ok=True)
    difficulty = {source: random.uniform(0, 1, 400 if source == "addition" else 120) for source in sources}
    lines = []
    for attempt, first, last in ((1, 0, min(14, last_step)), (2, 13, last_step)):
        for step in range(first, last + 1):
            skill = 0.68 - 0.3 * math.exp(-step / 9)
            line = make_line(step, attempt, dict.fromkeys(sources, skill - 0.08), random)
            if step % 8 == 0:
                noisy = {name: items + random.normal(0, 0.05, len(items)) for name, items in difficulty.items()}
                line |= make_validation(run, step, attempt, noisy, skill)
            elif step % 5 == 1:
                make_training_samples(run, step, attempt)
            lines.append(line)
    write_lines(run.metrics, lines)
    run.manifest.write_text(MANIFEST)
    run.identity.write_text(json.dumps({"uid": "u", "created": CREATED, "manifest_folder": "/jobs"}))
    run.status.write_text((status or make_status()).model_dump_json())
    run.resets.mkdir()
    for record in (make_reset(number=1), make_reset(number=2)) if resets is None else resets:
        (run.resets / f"{record.name}.json").write_text(record.model_dump_json())
    return run


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """`build_run` in a folder of the test's own."""
    return lambda **settings: build_run(tmp_path / "run", **settings)


@pytest.fixture(scope="session")
def build_run_at() -> MakeRun:
    """`build_run`, for fixtures that share a run among tests which only read it."""
    return build_run
