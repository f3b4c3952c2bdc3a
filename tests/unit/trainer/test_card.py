"""What the model card says of the reference."""

from __future__ import annotations

import pytest

from prorl_api.export_record import ExportRecord
from prorl_api.manifest import parse_job
from prorl_trainer.export.card import CardFacts, model_card
from prorl_trainer.storage.checkpoints import LineageEntry

MANIFEST = """
apiVersion: prorl.dev/v1alpha1
kind: ProRLJob
metadata: {name: demo}
spec:
  model: {path: /models/base}
  data: {sources: [{name: sums, domain: logic, reasoningGym: {tasks: [{name: chain_sum}]}}]}
  learner: {precision: float32}
  algorithm: {kl: {coefficient: 0.1DECAY}}
  schedule: {totalSteps: 50}
"""
BASE = LineageEntry(digest="a" * 64, since_step=0, trigger="base model")
RESET = LineageEntry(digest="b" * 64, since_step=9, trigger="kl-spike")


@pytest.mark.parametrize(
    ("decay", "lineage", "said"),
    [
        ("", [BASE], "the KL was measured to the base model throughout"),
        ("", [BASE, RESET], "What the KL was measured to, in order"),
        (
            ", referenceDecay: 0.9",
            [BASE],
            "the KL was measured to an average that followed the policy from the base model",
        ),
        (", referenceDecay: 0.9", [BASE, RESET], "What the average that the KL was measured to began at, in order"),
    ],
)
def test_what_the_kl_was_measured_to_is_said(decay: str, lineage: list[LineageEntry], said: str) -> None:
    facts = CardFacts(
        record=ExportRecord(job="demo", checkpoint="last", step=20),
        spec=parse_job(MANIFEST.replace("DECAY", decay)).spec,
        lines=[],
        lineage=lineage,
        num_parameters=1000,
        base_name="base",
        is_on_hub=False,
    )
    text = model_card(facts)
    assert said in text
    assert ("to an average that keeps 0.9 a step" in text) == bool(decay)
