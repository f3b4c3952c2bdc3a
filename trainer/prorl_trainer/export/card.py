"""The model card: what the model is, how it was trained, how good it is. Pure: from facts to Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prorl_api.export_record import ExportRecord
from prorl_api.spec.data import DataSource, PromptFormat
from prorl_api.spec.job import ProRLJobSpec
from prorl_api.spec.merge import stage_at
from prorl_api.spec.values import EngineKind
from prorl_trainer.storage.checkpoints import LineageEntry

_TOTAL, _BY_SOURCE = "validation_accuracy", "validation_source_accuracy/"
_Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFacts:
    """What the card tells."""

    record: ExportRecord
    spec: ProRLJobSpec | None
    """As it ran; None where the manifest was not there."""
    lines: Sequence[_Line]
    """The surviving timeline of `metrics.jsonl`, up to the policy's step."""
    lineage: Sequence[LineageEntry]
    """References in force up to the policy's step."""
    num_parameters: int
    base_name: str
    """Of the base model, as people know it."""
    is_on_hub: bool
    """The base model's name is one of a hub."""


def model_card(facts: CardFacts) -> str:
    """Return the text of `README.md`."""
    record = facts.record
    parts = [
        _header(facts),
        f"# {record.job}, step {record.step:,}",
        f"{facts.base_name}, trained further for {record.step:,} steps by prolonged reinforcement learning "
        "([ProRL](https://arxiv.org/abs/2505.24864)) with verifiable rewards. "
        f"{facts.num_parameters:,} parameters. Checkpoint `{record.checkpoint}` of the run"
        + (f" `{record.run_uid}`." if record.run_uid else "."),
        "## Scores\n\n" + _scores(facts),
        "## Use\n\n" + _usage(record),
        "## Training data\n\n" + _data(facts.spec),
        "## Recipe\n\n" + _recipe(facts),
        "## Reference resets\n\n" + _resets(facts.lineage, facts.spec),
        "## Limits\n\nThe rewards judge answers to the tasks above and nothing else; what the base model should not "
        "be used for, this one should not either. The base model's licence holds. Sampled and trained with "
        "ProRL on Kubernetes; `prorl.json` says where the weights come from.",
    ]
    return "\n\n".join(parts) + "\n"


def _header(facts: CardFacts) -> str:
    lines = [
        "library_name: transformers",
        "pipeline_tag: text-generation",
        "tags: [prorl, reinforcement-learning, grpo]",
    ]
    if facts.is_on_hub:
        lines.append(f"base_model: {json.dumps(facts.base_name)}")
    return "\n".join(["---", *lines, "---"])


def _scores(facts: CardFacts) -> str:
    validated = [line for line in facts.lines if _TOTAL in line]
    if not validated:
        return "The run has measured no held-out accuracy up to this step."
    first, last = validated[0], validated[-1]
    names = [name.removeprefix(_BY_SOURCE) for name in last if name.startswith(_BY_SOURCE)]
    rows = [[name, _number(first.get(_BY_SOURCE + name)), _number(last.get(_BY_SOURCE + name))] for name in names]
    if len(names) != 1:
        rows.insert(0, ["all sources", _number(first[_TOTAL]), _number(last[_TOTAL])])
    table = _table([["source", f"step {first['step']}", f"step {last['step']}"], *rows])
    notes = ["Held-out accuracy: the mean reward on prompts that are never trained on."]
    if facts.spec is not None:
        validation = facts.spec.validation
        sizes = ", ".join(f"{source.size} of {source.name}" for source in facts.spec.validated_sources)
        how = "greedy" if validation.temperature == 0 else f"at temperature {validation.temperature:g}"
        notes.append(f"{sizes}; {validation.samples_per_prompt} completion(s) each, {how}.")
    if last["step"] != facts.record.step:
        notes.append(f"Measured last at step {last['step']}: step {facts.record.step} itself was not validated.")
    if facts.record.checkpoint == "best":
        notes.append("The checkpoint was chosen by this number, which is therefore a little better than the truth.")
    return f"{table}\n\n{' '.join(notes)}"


def _usage(record: ExportRecord) -> str:
    form = record.sources[0].prompt if record.sources else PromptFormat()
    tokens = record.max_completion_tokens or 256
    question = form.template.replace("{question}", "What is 3 + 4?")
    if form.chat:
        messages = [{"role": "user", "content": question}]
        if form.system is not None:
            messages.insert(0, {"role": "system", "content": form.system})
        made = f"tokenizer.apply_chat_template({json.dumps(messages)}, tokenize=False, add_generation_prompt=True)"
    else:
        made = json.dumps(question)
    stop = f", stop_strings={json.dumps(list(record.stop))}, tokenizer=tokenizer" if record.stop else ""
    prefix = f" + {json.dumps(form.assistant_prefix)}" if form.assistant_prefix else ""
    return (
        "Ask it as it was asked while it learnt; other ways are untried:\n\n```python\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        'model = AutoModelForCausalLM.from_pretrained(".", dtype="auto")\n'
        'tokenizer = AutoTokenizer.from_pretrained(".")\n'
        f"prompt = {made}{prefix}\n"
        f'inputs = tokenizer(prompt, return_tensors="pt", add_special_tokens={not form.chat})\n'
        f"output = model.generate(**inputs, max_new_tokens={tokens}, do_sample=False{stop})\n"
        'print(tokenizer.decode(output[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True))\n```'
    )


def _data(spec: ProRLJobSpec | None) -> str:
    if spec is None:
        return "The manifest was not in the run's folder."
    rows = [[source.name, source.domain.value, _origin(source), f"{source.weight:g}"] for source in spec.data.sources]
    return _table([["source", "domain", "from", "weight"], *rows])


def _origin(source: DataSource) -> str:
    return source.generator or f"`{str(source.jsonl).rpartition('/')[2]}`"


def _recipe(facts: CardFacts) -> str:
    spec, record = facts.spec, facts.record
    if spec is None:
        return "The manifest was not in the run's folder."
    learner, algorithm, rollout = spec.learner, spec.algorithm, spec.rollout
    zero = f", ZeRO stage {learner.deepspeed.zero_stage}" if learner.engine is EngineKind.DEEPSPEED else ""
    stage = stage_at(spec, max(record.step, 1))
    rows = [
        ["batch", f"{learner.prompts_per_step} prompts × {learner.group_size} completions"],
        ["optimizer steps a batch", str(learner.prompts_per_step // learner.minibatch_prompts)],
        ["learning rate", f"{learner.optimizer.learning_rate:g} (AdamW)"],
        ["advantage", algorithm.advantage.value],
        ["clip", f"1 − {algorithm.clip.low:g} to 1 + {algorithm.clip.high:g}"],
        ["loss", algorithm.loss_aggregation.value],
        ["dynamic sampling", "on" if algorithm.dynamic_sampling.enabled else "off"],
        ["KL term", algorithm.kl.in_words],
        ["sampling", f"temperature {rollout.temperature:g}, at most {rollout.max_completion_tokens:,} tokens"],
        ["precision", f"{learner.precision.value}, engine {learner.engine.value}{zero}"],
        ["seed", str(spec.seed)],
    ]
    if stage is not None:
        rows.append(["stage at this step", stage.name])
    return _table([["setting", "value"], *rows])


def _resets(lineage: Sequence[LineageEntry], spec: ProRLJobSpec | None) -> str:
    rows = [[str(entry.since_step), entry.trigger or "–", f"`{entry.digest[:16]}`"] for entry in lineage]
    follows = spec is not None and spec.algorithm.kl.reference_decay is not None
    if len(rows) < 2:
        measured = (
            "an average that followed the policy from the base model on" if follows else "the base model throughout"
        )
        return f"None up to this step: the KL was measured to {measured}."
    measured = "What the average that the KL was measured to began at" if follows else "What the KL was measured to"
    return f"{measured}, in order.\n\n" + _table([["from step", "why", "reference"], *rows])


def _number(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) else "–"


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *body = [[_cell(cell) for cell in row] for row in rows]
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
