"""Train the toy world's base model from nothing, once: a small Llama that knows chains of one and two hidden functions.

It has met every function, and never a longer chain: what lies beyond what it was taught is known. The run is
deterministic for a number of threads; it writes its state every minute and goes on from there when it is started again;
the folder appears only when it is whole.

Usage: python examples/prepare_toy_model.py FOLDER [--size small|tiny] [--threads N]
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
from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers.decoders import Fuse
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from prorl_trainer.data.composition import THOUGHT_END, THOUGHT_START, Chain, CompositionWorld

PAD, END, UNKNOWN = "<pad>", "<end>", "<unknown>"
DEPTHS = (1, 2)
_SECONDS_BETWEEN_STATES = 60.0
_STEPS_BETWEEN_LINES = 50
_NUM_PROBES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """A world, a model for it and how it is trained; the world must be that of the manifest."""

    seed: int
    num_functions: int
    num_letters: int
    word_length: int
    hidden_size: int
    num_layers: int
    num_heads: int
    steps: int
    batch: int
    learning_rate: float

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
        seed=0, num_functions=12, num_letters=10, word_length=5, hidden_size=256, num_layers=6, num_heads=8,
        steps=3000, batch=64, learning_rate=1e-3,
    ),
    "tiny": Size(
        seed=0, num_functions=4, num_letters=6, word_length=3, hidden_size=128, num_layers=4, num_heads=4,
        steps=600, batch=64, learning_rate=2e-3,
    ),
}  # fmt: skip
"""`small` has about five million parameters, `tiny` (for tests) less than one."""


def tokenizer_of(world: CompositionWorld) -> PreTrainedTokenizerFast:
    """Return a tokenizer of one token a character, with tokens of their own for the ends of a thought."""
    special = [PAD, END, UNKNOWN, THOUGHT_START, THOUGHT_END]
    vocabulary = {token: number for number, token in enumerate([*special, ":", *world.names, *world.alphabet])}
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


def batch_of(
    chains: list[Chain], tokenizer: PreTrainedTokenizerFast
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return token ids, attention mask and labels, each `[batch, seq]`; -100 where nothing is to be learnt."""
    prompts = [tokenizer(f"{chain.question}{THOUGHT_START}")["input_ids"] for chain in chains]
    answers = [tokenizer(f"{chain.worked}{END}")["input_ids"] for chain in chains]
    longest = max(len(prompt) + len(answer) for prompt, answer in zip(prompts, answers, strict=True))
    ids = torch.full((len(chains), longest), tokenizer.pad_token_id)
    labels = torch.full((len(chains), longest), -100)
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        end = len(prompt) + len(answer)
        ids[row, :end] = torch.tensor(prompt + answer)
        labels[row, len(prompt) : end] = torch.tensor(answer)
    return ids, (ids != tokenizer.pad_token_id).long(), labels


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
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=size.learning_rate, weight_decay=0.01)
        self.step = 0
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

    def solved(self, depth: int) -> float:
        """Return the share of new items of a depth that the model solves greedily."""
        chains = [self.world.item([depth], f"probe-{depth}", index) for index in range(_NUM_PROBES)]
        ids = torch.tensor([self.tokenizer(f"{chain.question}{THOUGHT_START}")["input_ids"] for chain in chains])
        with torch.no_grad():
            written = self.model.generate(
                ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=(depth + 2) * 8
            )
        texts = self.tokenizer.batch_decode(written[:, ids.shape[1] :])
        right = [
            text.split(END)[0].rpartition(THOUGHT_END)[2] == chain.answer
            for text, chain in zip(texts, chains, strict=True)
        ]
        return float(sum(right) / len(right))

    def publish(self, folder: Path) -> None:
        """Write the Hugging Face folder, which appears only when it is whole, and remove the state."""
        whole = folder.with_suffix(".whole")
        shutil.rmtree(whole, ignore_errors=True)
        self.model.save_pretrained(whole)
        self.tokenizer.save_pretrained(whole)
        (whole / "world.json").write_text(json.dumps(asdict(self.size), indent=1))
        for file in whole.iterdir():
            file.chmod(0o644)  # weights are saved for their owner alone; pods run as somebody else
        shutil.rmtree(folder, ignore_errors=True)
        whole.rename(folder)
        self._file.unlink(missing_ok=True)

    def _train(self) -> float:
        size = self.size
        chains = [
            self.world.item(DEPTHS, "pre-training", self.step * size.batch + number) for number in range(size.batch)
        ]
        ids, mask, labels = batch_of(chains, self.tokenizer)
        logits = self.model(input_ids=ids, attention_mask=mask).logits
        loss = cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, size)
        self.optimizer.step()
        return loss.item()

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


def prepare(folder: Path, size: Size) -> None:
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
        if step and step % (10 * _STEPS_BETWEEN_LINES) == 0:
            _say("solved greedily: " + ", ".join(f"depth {depth} {work.solved(depth):.3f}" for depth in (1, 2, 3, 4)))
    work.publish(folder)
    _say("solved greedily: " + ", ".join(f"depth {depth} {work.solved(depth):.3f}" for depth in (1, 2, 3, 4)))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.use_deterministic_algorithms(True)
    if not (given.folder / "config.json").is_file():
        prepare(given.folder, SIZES[given.size])
    _say(f"model: {given.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
