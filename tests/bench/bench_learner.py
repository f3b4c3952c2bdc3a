"""How the learner's memory and time grow: with the pack, and with the vocabulary.

    python -m tests.bench.bench_learner [--longest 16384]

Times are CPU seconds of one thread, least of three, so that other programs on the machine do not count. Each peak of
memory is that of a process of its own, in the forward and backward pass of a pack that is not the first: above weights,
their gradients and the optimizer's state, which are there, and which `prorl plan` counts. Exit status 1 if a bound is
passed:

- attention's time a position, in packs of 512-token segments: at the longest pack at most 1.2 times that at 1,024;
- peak memory of forward and backward pass at the longest pack, less what a position's activations take (the slope from
  1,024 to 4,096 positions) times the positions more: at most 1.3 times that at 4,096;
- peak memory with twice the vocabulary: less than 1.1 times with `zeroStage: 0`. DeepSpeed gets a pack's gradient whole
  from autograd before it adds it up: there the growth is printed beside the matrices that make it.
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

import torch
import transformers
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from prorl_api.model.config import ModelConfig
from prorl_control.forecast.memory import ModelSize, rank_memory
from prorl_trainer.algorithm.types import Pack
from prorl_trainer.engines.attention.segments import Scores, lay_out
from prorl_trainer.engines.masks import attention_allowed
from tests.bench.learner_step import HEAD_WIDTH, HEADS, KEY_HEADS, pack_of
from tests.unit.trainer.trainer_builders import make_spec

REPOSITORY = Path(__file__).parents[2]
CPU = torch.device("cpu")
SEGMENT = (112, [400])
"""A prompt with one completion, 512 positions."""
SHORT = (50, [5] * 8)
"""The quickstart's groups: completions of 6 tokens, all different."""
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


def peak(model: Path, vocabulary: int, segments: int, engine: str) -> int:
    """Bytes that a pack takes above what the process held before; the model is made when it is not there."""
    command = [sys.executable, "-m", "tests.bench.learner_step", str(model), str(vocabulary), str(segments), engine]
    answer = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True)
    return int(json.loads(answer.stdout.splitlines()[-1])["peak"])


def forecast(num_positions: int, vocabulary: int) -> int:
    """Bytes that `prorl plan` counts of a pack's activations."""
    config = {
        "model_type": "llama", "vocab_size": vocabulary, "hidden_size": HEADS * HEAD_WIDTH, "intermediate_size": 1536,
        "num_hidden_layers": 2, "num_attention_heads": HEADS, "num_key_value_heads": KEY_HEADS,
    }  # fmt: skip
    size = ModelSize(parameters=0, config=ModelConfig(config))
    return rank_memory(make_spec(), size, num_positions, on_gpu=False).activations or 0


def memory_figures(folder: Path, longest: int) -> bool:
    """Print a table; return whether the bounds are kept."""
    print("\npeak memory of a pack above weights, gradients and optimizer, MiB: two layers of SmolLM2's shape")
    print("| engine | positions | vocabulary | peak | `prorl plan` |\n|---|---|---|---|---|")

    def measure(num_positions: int, vocabulary: int, engine: str = "plain") -> int:
        size = peak(folder / str(vocabulary), vocabulary, num_positions // 512, engine)
        planned = forecast(num_positions, vocabulary) / 2**20
        print(f"| {engine} | {num_positions} | {vocabulary} | {size / 2**20:.0f} | {planned:.0f} |", flush=True)
        return size

    small, middle, large = (measure(size, 8192) for size in (1024, 4096, longest))
    narrow, wide = measure(2048, 32768), measure(2048, 65536)
    sharded = measure(2048, 65536, "deepspeed") - measure(2048, 32768, "deepspeed")
    slope = (middle - small) / (4096 - 1024)
    by_positions, by_vocabulary = (large - slope * (longest - 4096)) / middle, wide / narrow
    print(f"activations: {slope / 1024:.0f} KiB a position")
    print(f"at {longest} positions, less the activations of those beyond 4,096: {by_positions:.2f} times (bound 1.3)")
    print(f"with twice the vocabulary: {by_vocabulary:.2f} times (bound 1.1)")
    matrix = 4 * 32768 * HEADS * HEAD_WIDTH
    print(f"with DeepSpeed it grows by {sharded / 2**20:.0f} MiB, {sharded / matrix:.1f} times the embedding's growth")
    return by_positions <= 1.3 and by_vocabulary < 1.1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--longest", type=int, default=16384, help="positions; a power of two of at least 4,096")
    longest = parser.parse_args().longest
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, {platform.machine()}, one thread")
    with tempfile.TemporaryDirectory() as folder:
        kept = [attention_figures(longest), memory_figures(Path(folder), longest)]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
