"""What sharing a group's prompt saves: the learner's step with it against the same step without. Run by hand:

    python tests/bench/bench_shared_prompt.py [--model FOLDER] [--engine plain] [--precision float32] [--repetitions 5]

The step is `prepare` and all optimizer steps of one batch: groups of 8 completions of 6 tokens after a prompt of 50
tokens. Speeds of shared machines drift, so both kinds of step are taken in turn; the ratio is of neighbours. Without
a model folder it takes a Llama of 135 million random weights.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import time
from pathlib import Path

import torch

from prorl_api.spec.algorithm import AlgorithmSpec
from prorl_api.spec.roles import LearnerSpec
from prorl_api.spec.values import AnswerFormat, Domain, EngineKind, LossAggregation, Precision
from prorl_api.wire.rollout import FinishReason
from prorl_api.wire.sandbox import Verdict
from prorl_trainer.algorithm.packing import build_batch
from prorl_trainer.algorithm.types import Batch, Prompt, Rollout, RolloutGroup, ScoredGroup, Segment
from prorl_trainer.engines.build import build_engine, training_device
from prorl_trainer.engines.engine import TrainingEngine
from prorl_trainer.engines.ranks import join_ranks

PROMPT_TOKENS, COMPLETION_TOKENS, GROUP_SIZE = 50, 6, 8
ALGORITHM = AlgorithmSpec.model_validate({"kl": {"coefficient": 0.001}})


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="folder in Hugging Face format")
    parser.add_argument("--engine", type=EngineKind, choices=list(EngineKind), default=EngineKind.PLAIN)
    parser.add_argument("--precision", type=Precision, choices=list(Precision), default=Precision.FLOAT32)
    parser.add_argument("--groups", type=int, default=16)
    parser.add_argument("--minibatch", type=int, default=8, help="groups in one optimizer step")
    parser.add_argument("--microbatch-tokens", type=int, default=1024)
    parser.add_argument("--repetitions", type=int, default=5)
    return parser.parse_args()


def random_llama(folder: Path) -> Path:
    """The shape of SmolLM2-135M."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def random_groups(count: int) -> list[ScoredGroup]:
    dice = random.Random(0)

    def tokens(number: int) -> tuple[int, ...]:
        return tuple(dice.randrange(10, 1000) for _ in range(number))

    def rollout() -> Rollout:
        segment = Segment(
            source="model",
            token_ids=tokens(COMPLETION_TOKENS),
            logprobs=(-6.0,) * COMPLETION_TOKENS,
            weights_id=None,
            loss_mask=True,
        )
        return Rollout(
            segments=(segment,), finish_reason=FinishReason.STOP, text="", reward=1.0, verdict=Verdict.CORRECT
        )

    groups = []
    for index in range(count):
        prompt = Prompt(
            index=index,
            source="random",
            domain=Domain.LOGIC,
            answer_format=AnswerFormat.TEXT,
            text="",
            token_ids=tokens(PROMPT_TOKENS),
            row={},
        )
        group = RolloutGroup(prompt=prompt, rollouts=tuple(rollout() for _ in range(GROUP_SIZE)))
        advantages = tuple(dice.uniform(-1, 1) for _ in range(GROUP_SIZE))
        groups.append(ScoredGroup(group=group, advantages=advantages, shaped_rewards=(1.0,) * GROUP_SIZE))
    return groups


def batch_of(groups: list[ScoredGroup], options: argparse.Namespace, *, share: bool) -> Batch:
    return build_batch(
        groups,
        minibatch_prompts=options.minibatch,
        microbatch_tokens=options.microbatch_tokens,
        num_ranks=1,
        aggregation=LossAggregation.TOKEN_MEAN,
        temperature=1.0,
        share_prompts=share,
    )


def step_seconds(engine: TrainingEngine, batch: Batch) -> float:
    started = time.perf_counter()
    engine.prepare(batch)
    for index in range(len(batch.minibatches)):
        engine.update(index, ALGORITHM, 1e-7)
    return time.perf_counter() - started


def main() -> None:
    options = arguments()
    spec = LearnerSpec(engine=options.engine, precision=options.precision)
    device = training_device()
    if options.engine is EngineKind.DEEPSPEED:
        join_ranks(device)
    with tempfile.TemporaryDirectory() as folder:
        model = options.model or random_llama(Path(folder))
        engine = build_engine(str(model), spec, device, None)
    groups = random_groups(options.groups)
    shared, repeated = (batch_of(groups, options, share=share) for share in (True, False))
    for name, batch in (("shared", shared), ("repeated", repeated)):
        positions = sum(minibatch.num_positions for minibatch in batch.minibatches)
        packs = sum(len(packs) for minibatch in batch.minibatches for packs in minibatch.packs_by_rank)
        print(f"{name:>9}: {positions} positions in {packs} packs")
    step_seconds(engine, shared)  # the first step also allocates
    ratios = []
    for number in range(1, options.repetitions + 1):
        fast, slow = step_seconds(engine, shared), step_seconds(engine, repeated)
        ratios.append(slow / fast)
        print(f"{number:>9}: shared {fast:.2f} s, repeated {slow:.2f} s, ratio {ratios[-1]:.2f}")
    print(
        f"{device.type}, {torch.get_num_threads()} threads, {options.engine}, {options.precision}: shared prompts are "
        f"{min(ratios):.2f} / {statistics.median(ratios):.2f} / {max(ratios):.2f} times faster (min / median / max)"
    )


if __name__ == "__main__":
    main()
    os._exit(0)  # threads of the engines need not be waited for
