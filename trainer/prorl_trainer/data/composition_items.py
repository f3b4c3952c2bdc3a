"""Items of a toy world (`composition`) as a source of prompts."""

from __future__ import annotations

from prorl_api.spec.data import CompositionSource, DataSource
from prorl_trainer.data.composition import CompositionWorld
from prorl_trainer.data.generated_items import GeneratedItem, GeneratedItems, Purpose

TASK = "composition"
"""Name of the task in the rows; the verifier of domain `logic` knows it."""


class CompositionItems(GeneratedItems):
    """Items of one source; item i depends on the seeds and i alone."""

    def __init__(self, source: DataSource, spec: CompositionSource) -> None:
        super().__init__(source.name)
        self._spec = spec
        self._world = CompositionWorld(
            seed=spec.world_seed,
            num_functions=spec.num_functions,
            num_letters=spec.num_letters,
            word_length=spec.word_length,
        )

    def _made(self, purpose: Purpose, index: int) -> GeneratedItem:
        chain = self._world.item(self._spec.depths, f"{self._spec.seed}/{purpose}", index)
        entry = {"question": chain.question, "answer": chain.answer, "metadata": {"depth": len(chain.names)}}
        return chain.question, {"task": TASK, "entry": entry}
