"""How the learner's memory and time grow: with the pack, and with the vocabulary.

    python -m tests.bench.bench_learner [--longest 16384]

Times are CPU seconds of one thread, least of three, so that other programs on the machine do not count; each peak of
memory is that of a process of its own, above what it held before the step. Exit status 1 if a bound is passed:

- attention's time a position, in packs of 512-token segments: at the longest pack at most 1.2 times that at 1,024;
- peak memory of forward and backward pass at the longest pack, less what a position's activations take (the slope from
  1,024 to 4,096 positions) times the positions more: at most 1.3 times that at 4,096;
- peak memory with twice the vocabulary: less than 1.1 times.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from prorl_trainer.algorithm.types import Pack
from prorl_trainer.engines.attention.segments import Scores, lay_out
from prorl_trainer.engines.masks import attention_allowed
from tests.bench.learner_step import HEAD_WIDTH, HEADS, KEY_HEADS, batch_of, pack_of, random_llama
from tests.integration.engine_kit import ALGORITHM, make_engine

REPOSITORY = Path(__file__).parents[2]
CPU = torch.device("cpu")
SEGMENT = (112, [400])
"""A prompt with one completion, 512 positions."""
SHORT = (50, [6] * 8)
"""The quickstart's groups."""
LONGEST_DENSE = 8192
"""Beyond it the dense way takes minutes."""


def least_seconds(action: Callable[[], object], repetitions: int = 3) -> float:
    seconds = []
    for _ in range(repetitions):
        started = time.thread_time()
        action()
        seconds.append(time.thread_time() - started)
    return min(seconds)


def attention_inputs(num_positions: int) -> list[Tensor]:
    return [
        torch.randn(1, num_positions, heads, HEAD_WIDTH).transpose(1, 2).requires_grad_()
        for heads in (HEADS, KEY_HEADS, KEY_HEADS)
    ]


def seconds_by_segments(pack: Pack) -> float:
    layout, (query, key, value) = lay_out(pack, None, CPU), attention_inputs(pack.num_positions)

    def action() -> None:
        layout.attend(query, key, value, Scores(scale=0.125)).sum().backward()  # type: ignore[no-untyped-call]

    return least_seconds(action)


def seconds_dense(pack: Pack) -> float:
    mask, (query, key, value) = attention_allowed(pack, CPU)[None, None], attention_inputs(pack.num_positions)
    repeats = HEADS // KEY_HEADS

    def action() -> None:
        keys, values = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
        scaled_dot_product_attention(query, keys, values, attn_mask=mask, scale=0.125).sum().backward()  # type: ignore[no-untyped-call]

    return least_seconds(action, 1 if pack.num_positions > 4096 else 3)


def attention_figures(longest: int) -> bool:
    """Print a table; return whether the bound is kept."""
    print("\nattention of one layer, forward and backward; dense: the same under the pack's mask")
    print("| pack | positions | dense s | by segments s | times faster | us a position |\n|---|---|---|---|---|---|")
    a_position = {}
    sizes = [size for size in (1024, 4096, 8192, 16384, 32768, 65536, 131072) if size <= longest]
    packs = [(f"{size // 512} segments of 512", pack_of([SEGMENT] * (size // 512))) for size in sizes]
    for name, pack in [*packs, ("10 groups, prompt of 50, 8 completions of 6", pack_of([SHORT] * 10))]:
        seconds = seconds_by_segments(pack)
        dense = seconds_dense(pack) if pack.num_positions <= LONGEST_DENSE else None
        a_position[pack.num_positions] = seconds / pack.num_positions
        shown = ("", "") if dense is None else (f"{dense:.3f}", f"{dense / seconds:.1f}")
        print(
            f"| {name} | {pack.num_positions} | {shown[0]} | {seconds:.3f} | {shown[1]} | "
            f"{1e6 * seconds / pack.num_positions:.0f} |",
            flush=True,
        )
    ratio = a_position[longest] / a_position[1024]
    print(f"a position at {longest} costs {ratio:.2f} times what it costs at 1,024 (bound 1.2)")
    return ratio <= 1.2


def peak(model: Path, vocabulary: int, segments: int) -> int:
    """Bytes that a step takes above what the process held before; the model is made when it is not there."""
    command = [sys.executable, "-m", "tests.bench.learner_step", str(model), str(vocabulary), str(segments)]
    answer = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True)
    return int(json.loads(answer.stdout.splitlines()[-1])["peak"])


def memory_figures(folder: Path, longest: int) -> bool:
    """Print a table; return whether the bounds are kept."""
    print("\npeak memory of forward and backward pass above weights and gradients, MiB: two layers of SmolLM2's shape")
    print("| positions | vocabulary | peak |\n|---|---|---|")

    def measure(num_positions: int, vocabulary: int) -> int:
        size = peak(folder / str(vocabulary), vocabulary, num_positions // 512)
        print(f"| {num_positions} | {vocabulary} | {size / 2**20:.0f} |", flush=True)
        return size

    small, middle, large = (measure(size, 8192) for size in (1024, 4096, longest))
    narrow, wide = measure(2048, 32768), measure(2048, 65536)
    slope = (middle - small) / (4096 - 1024)
    by_positions, by_vocabulary = (large - slope * (longest - 4096)) / middle, wide / narrow
    print(f"activations: {slope / 1024:.0f} KiB a position")
    print(f"at {longest} positions, less the activations of those beyond 4,096: {by_positions:.2f} times (bound 1.3)")
    print(f"with twice the vocabulary: {by_vocabulary:.2f} times (bound 1.1)")
    return by_positions <= 1.3 and by_vocabulary < 1.1


def tiny_model_figures(folder: Path) -> None:
    """Print what a step costs of which prolonged runs on two cores are made; its attention dense and by segments."""
    model = random_llama(
        folder / "tiny", 49_152, hidden_size=256, intermediate_size=704, num_hidden_layers=6, num_attention_heads=4,
        num_key_value_heads=4,
    )  # fmt: skip
    batch = batch_of([(20, [24] * 8)] * 16, minibatch_prompts=8)
    print("\nstep of a model of 17 million parameters, 128 completions of 24 tokens, two optimizer steps, CPU s")
    print("| attention | reference and old | updating |\n|---|---|---|")
    for way in ("dense", "segments"):
        engine = make_engine(model)
        if way == "dense":
            engine._backend.policy.attend_densely()
            reference: Any = engine._reference
            reference.module.attend_densely()
        preparing = least_seconds(lambda engine=engine: engine.prepare(batch), 2)  # type: ignore[misc]
        updating = sum(
            least_seconds(lambda engine=engine, part=part: engine.update(part, ALGORITHM, 1e-6), 1)  # type: ignore[misc]
            for part in (0, 1)
        )
        print(f"| {way} | {preparing:.2f} | {updating:.2f} |", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--longest", type=int, default=16384, help="positions; a power of two of at least 4,096")
    longest = parser.parse_args().longest
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, {platform.machine()}, one thread")
    with tempfile.TemporaryDirectory() as folder:
        kept = [attention_figures(longest), memory_figures(Path(folder), longest)]
        tiny_model_figures(Path(folder))
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
