"""Train the toy world's base model from nothing, once: a small Llama that knows chains of one and two hidden functions.

It has met every function, and never a third one worked out in a chain: `prorl_trainer.data.composition_lessons` says
what it is taught. The run is deterministic for a number of threads; it writes its state every minute and goes on from
there when it is started again; the folder appears only when it is whole, with what the model solves by depth in
`solved.json`.

Usage: python examples/prepare_toy_model.py FOLDER [--size small|tiny] [--threads N] [--samples N]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from scipy import stats
from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers.decoders import Fuse
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from prorl_trainer.data.composition import IDENTITY, THOUGHT_END, THOUGHT_START, CompositionWorld
from prorl_trainer.data.composition_lessons import END, Token, lesson

PAD, UNKNOWN = "<pad>", "<unknown>"
_SECONDS_BETWEEN_STATES = 60.0
_STEPS_BETWEEN_LINES = 50
_NUM_PROBES = 64
_NUM_COMPUTED = 256
_DILIGENT_PERSISTENCE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """A world, a model for it and how it is trained; the world must be that of the manifest."""

    hidden_size: int
    num_layers: int
    num_heads: int
    steps: int
    batch: int
    learning_rate: float
    seed: int = 0
    num_functions: int = 6
    num_letters: int = 8
    word_length: int = 4
    longest: int = 6
    """Places of the longest lesson; what is asked is not longer."""
    persistence: float = 0.05
    """Probability with which teachers go on at each place after the second, in the last steps."""
    diligent_share: float = 0.6
    """Share of the steps, the first ones, in which teachers go on half of the time instead: what they then name is
    learnt from many lessons, how seldom they do from the others."""
    is_bfloat16: bool = False
    """Compute in bfloat16; weights stay float32."""

    def persistence_at(self, step: int) -> float:
        """Return the probability with which the teachers of a step go on after the second place."""
        return _DILIGENT_PERSISTENCE if step < self.diligent_share * self.steps else self.persistence

    def world(self) -> CompositionWorld:
        """Return the world that the model is to know."""
        return CompositionWorld(
            seed=self.seed,
            num_functions=self.num_functions,
            num_letters=self.num_letters,
            word_length=self.word_length,
        )


SIZES = {
    "small": Size(
        hidden_size=256, num_layers=6, num_heads=8, steps=2000, batch=64, learning_rate=1e-3, is_bfloat16=True
    ),
    "tiny": Size(hidden_size=96, num_layers=3, num_heads=3, steps=800, batch=48, learning_rate=3e-3),
}  # fmt: skip
"""`small` has about five million parameters, `tiny` (for tests and first tries) a third of a million; both know the
same world."""


def tokenizer_of(world: CompositionWorld) -> PreTrainedTokenizerFast:
    """Return a tokenizer of one token a character, with tokens of their own for the ends of a thought."""
    special = [PAD, END, UNKNOWN, THOUGHT_START, THOUGHT_END]
    vocabulary = {
        token: number for number, token in enumerate([*special, ":", IDENTITY, *world.names, *world.alphabet])
    }
    core = Tokenizer(WordLevel(vocabulary, unk_token=UNKNOWN))
    core.pre_tokenizer = Split(Regex("."), behavior="isolated")
    core.decoder = Fuse()
    # Not special: judges need them in the text.
    core.add_tokens([AddedToken(token, normalized=False) for token in (THOUGHT_START, THOUGHT_END)])
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token=PAD, eos_token=END, unk_token=UNKNOWN, clean_up_tokenization_spaces=False
    )


def model_of(size: Size, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Return the untrained model; its heads have a size that vLLM serves on a CPU."""
    torch.manual_seed(size.seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=size.hidden_size, intermediate_size=3 * size.hidden_size,
            num_hidden_layers=size.num_layers, num_attention_heads=size.num_heads, num_key_value_heads=size.num_heads,
            max_position_embeddings=256, tie_word_embeddings=True, bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        )
    )  # fmt: skip


def batch_of(lessons: list[list[Token]], vocabulary: dict[str, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids and labels, each `[batch, seq]`; -100 where nothing is to be learnt."""
    longest = max(map(len, lessons))
    ids = torch.full((len(lessons), longest), vocabulary[PAD])
    labels = torch.full((len(lessons), longest), -100)
    for row, tokens in enumerate(lessons):
        ids[row, : len(tokens)] = torch.tensor([vocabulary[token.text] for token in tokens])
        labels[row, : len(tokens)] = torch.tensor(
            [-100 if token.label is None else vocabulary[token.label] for token in tokens]
        )
    return ids, labels


def learning_rate(step: int, size: Size) -> float:
    """Return the rate of a step: 100 steps of warm-up, then half a cosine to a tenth."""
    warm = min(1.0, (step + 1) / 100)
    return size.learning_rate * warm * (0.55 + 0.45 * math.cos(math.pi * step / size.steps))


class Pretraining:
    """Model, optimizer and how far they are, with the state on disk."""

    def __init__(self, size: Size, folder: Path) -> None:
        self.size, self.world = size, size.world()
        self.tokenizer = tokenizer_of(self.world)
        self.model = model_of(size, self.tokenizer)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=size.learning_rate, weight_decay=0.01, betas=(0.9, 0.98), fused=True
        )
        self.step = 0
        self._vocabulary = self.tokenizer.get_vocab()
        self._file = folder.with_suffix(".state.pt")
        if self._file.is_file():
            state = torch.load(self._file, weights_only=True)
            if state["size"] != asdict(size):
                raise SystemExit(f"{self._file} is the state of other settings; remove it to start anew")
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step = state["step"]

    def run(self) -> Iterator[tuple[int, float]]:
        """Train to the end, a step at a time; returns each step's number and loss."""
        saved = time.monotonic()
        while self.step < self.size.steps:
            yield self.step, self._train()
            self.step += 1
            if time.monotonic() - saved > _SECONDS_BETWEEN_STATES:
                self._save()
                saved = time.monotonic()

    def publish(self, folder: Path, solved: dict[str, Any]) -> None:
        """Write the Hugging Face folder, which appears only when it is whole, and remove the state."""
        whole = folder.with_suffix(".whole")
        shutil.rmtree(whole, ignore_errors=True)
        self.model.save_pretrained(whole)
        self.tokenizer.save_pretrained(whole)
        (whole / "world.json").write_text(json.dumps(asdict(self.size), indent=1))
        (whole / "solved.json").write_text(json.dumps(solved, indent=1))
        for file in whole.iterdir():
            file.chmod(0o644)  # weights are saved for their owner alone; pods run as somebody else
        shutil.rmtree(folder, ignore_errors=True)
        whole.rename(folder)
        self._file.unlink(missing_ok=True)

    def _train(self) -> float:
        size = self.size
        first = self.step * size.batch
        persistence = size.persistence_at(self.step)
        lessons = [lesson(self.world, size.longest, persistence, first + n) for n in range(size.batch)]
        lessons.sort(key=len)
        middle = size.batch // 2
        num_labels = sum(token.label is not None for tokens in lessons for token in tokens)
        self.optimizer.zero_grad()
        total = 0.0
        for part in (lessons[:middle], lessons[middle:]):  # the short ones apart from the long ones: less padding
            ids, labels = batch_of(part, self._vocabulary)
            with torch.autocast("cpu", torch.bfloat16, enabled=size.is_bfloat16):
                # Padding lies behind everything and is no label: the causal mask alone keeps it out.
                logits = self.model(input_ids=ids, use_cache=False).logits
            loss = cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten(), reduction="sum")
            loss = loss / num_labels
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, size)
        self.optimizer.step()
        return total

    def _save(self) -> None:
        state: dict[str, Any] = {
            "size": asdict(self.size),
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        beside = self._file.with_suffix(".new")
        torch.save(state, beside)
        os.replace(beside, self._file)


@torch.no_grad()
def solved(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, world: CompositionWorld, depth: int, samples: int
) -> int:
    """Return how many completions of new items of a depth are right: greedy ones for 1 sample an item, else drawn at
    temperature 1."""
    chains = [world.item([depth], f"probe-{depth}", index) for index in range(_NUM_PROBES)]
    ids = torch.tensor([tokenizer(f"{chain.question}{THOUGHT_START}")["input_ids"] for chain in chains])
    ids = ids.repeat_interleave(samples, 0)
    longest = (depth + 1) * (world.word_length + 1) + world.word_length + 2
    how = {"do_sample": True, "temperature": 1.0, "top_k": 0} if samples > 1 else {"do_sample": False}
    written = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=longest, **how)
    texts = tokenizer.batch_decode(written[:, ids.shape[1] :])
    answers = [text.split(END)[0].rpartition(THOUGHT_END)[2] for text in texts]
    return sum(answer == chains[row // samples].answer for row, answer in enumerate(answers))


@torch.no_grad()
def likelihood(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, world: CompositionWorld, depth: int
) -> float:
    """Return the mean probability of the whole right solution, as it is taught, over items of a depth: what sampling
    solves at least, computed where it is too rare to be met."""
    chains = [world.item([depth], f"probe-{depth}", index) for index in range(_NUM_COMPUTED)]
    texts = [f"{chain.question}{THOUGHT_START}{chain.worked}{END}" for chain in chains]
    ids = torch.tensor([tokenizer(text)["input_ids"] for text in texts])
    begins = depth + 1 + world.word_length + 1  # names, colon, word and the thought's start: one token each
    logs = model(input_ids=ids).logits[:, begins - 1 : -1].log_softmax(-1)
    taken = logs.gather(-1, ids[:, begins:, None]).squeeze(-1)
    return float(taken.sum(1).exp().mean())


def probe(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, world: CompositionWorld, samples: int, longest: int
) -> dict[str, Any]:
    """Return by depth what the model solves, greedily and sampled, with an exact 95 % interval as if samples were
    independent (Clopper-Pearson), and the mean probability of the right solution."""
    torch.manual_seed(0)
    found: dict[str, Any] = {}
    for depth in range(1, longest + 1):
        greedy, right = (solved(model, tokenizer, world, depth, n) for n in (1, samples))
        interval = stats.binomtest(right, _NUM_PROBES * samples).proportion_ci()
        found[str(depth)] = {
            "greedy": greedy / _NUM_PROBES, "right": right, "sampled": _NUM_PROBES * samples,
            "low": float(interval.low), "high": float(interval.high),
            "computed": likelihood(model, tokenizer, world, depth),
        }  # fmt: skip
        _say(
            f"depth {depth}: greedy {greedy} of {_NUM_PROBES}, sampled {right} of {_NUM_PROBES * samples} "
            f"({interval.low:.5f} to {interval.high:.5f}), computed {found[str(depth)]['computed']:.2g}"
        )
    return found


def prepare(folder: Path, size: Size, samples: int) -> None:
    """Train and write the model, telling how it goes."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Pretraining(size, folder)
    count = sum(parameter.numel() for parameter in work.model.parameters())
    _say(f"{count / 1e6:.1f} million parameters, step {work.step} of {size.steps}")
    begun, first = time.monotonic(), work.step
    for step, loss in work.run():
        if step % _STEPS_BETWEEN_LINES == 0 or step == size.steps - 1:
            seconds = (time.monotonic() - begun) / (step - first + 1)
            left = seconds * (size.steps - step) / 60
            _say(f"step {step}  loss {loss:.4f}  {seconds:.2f} s a step, {left:.0f} min to go")
    work.publish(folder, probe(work.model, work.tokenizer, work.world, samples, size.longest))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--samples", type=int, default=16, help="of each item of the probe, at temperature 1")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.use_deterministic_algorithms(True)
    if not (given.folder / "config.json").is_file():
        prepare(given.folder, SIZES[given.size], given.samples)
    _say(f"model: {given.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
