"""What the model card says of the reference."""

from __future__ import annotations

import pytest

from prorl_api.export_record import ExportRecord
from prorl_trainer.export.card import CardFacts, model_card
from prorl_trainer.storage.checkpoints import LineageEntry
from tests.unit.trainer.trainer_builders import make_spec

BASE = LineageEntry(digest="a" * 64, since_step=0, trigger="base model")
RESET = LineageEntry(digest="b" * 64, since_step=9, trigger="kl-spike")


@pytest.mark.parametrize(
    ("average", "lineage", "said"),
    [
        ({}, [BASE], "the KL was measured to the base model throughout"),
        ({}, [BASE, RESET], "What the KL was measured to, in order"),
        (
            {"referenceDecay": 0.9},
            [BASE],
            "the KL was measured to an average that followed the policy from the base model",
        ),
        ({"referenceDecay": 0.9}, [BASE, RESET], "What the average that the KL was measured to began at, in order"),
    ],
)
def test_what_the_kl_was_measured_to_is_said(average: dict[str, float], lineage: list[LineageEntry], said: str) -> None:
    facts = CardFacts(
        record=ExportRecord(job="demo", checkpoint="last", step=20),
        spec=make_spec(algorithm={"kl": {"coefficient": 0.1, **average}}),
        lines=[],
        lineage=lineage,
        num_parameters=1000,
        base_name="base",
        is_on_hub=False,
    )
    text = model_card(facts)
    assert said in text
    assert ("to an average that keeps 0.9 a step" in text) == bool(average)
