"""Rules between the sources of `data` and what is trained and validated on."""

from __future__ import annotations

from prorl_api.spec.base import Cel, rule
from prorl_api.spec.data import SOURCE_WEIGHT
from prorl_api.spec.run import DEFAULT_VALIDATION_SIZE
from prorl_api.spec.sections import JobSections


class SourceRules(JobSections):
    """Every source that is named exists, and every one that exists is used."""

    @rule(
        Cel(
            "self.validation.sources.all(named, self.data.sources.exists(source, source.name == named.name))",
            "unknown source in `validation.sources`; `data.sources` has {self.data.sources.map(source, source.name)}",
        ),
        Cel(
            # Counted, because a search for every name costs more than the API server spends on a rule.
            "self.schedule.stages.all(stage, stage.?overrides.?sourceWeights.orValue({}).size() == "
            "self.data.sources.filter(source, source.name in stage.?overrides.?sourceWeights.orValue({})).size())",
            "unknown source in a stage's `sourceWeights`; "
            "`data.sources` has {self.data.sources.map(source, source.name)}",
        ),
    )
    def validation_names_known_sources(self) -> None:
        """Validation and stages refer to sources that exist."""
        known = {source.name for source in self.data.sources}
        named = {source.name for source in self.validation.sources}
        for stage in self.schedule.stages:
            named |= set(stage.overrides.source_weights)
        if named - known:
            raise ValueError(
                f"unknown source {', '.join(sorted(named - known))} in `validation.sources` or a stage's "
                f"`sourceWeights`; `data.sources` has {', '.join(sorted(known))}"
            )

    @rule(
        Cel(
            "self.validation.sources.all(named, self.data.sources.all(source, "
            "source.name != named.name || !has(source.jsonl) || "
            f"source.?heldOut.orValue(0) >= named.?size.orValue({DEFAULT_VALIDATION_SIZE})))",
            "`validation.sources` asks for more prompts of a `jsonl` source than it holds out; set its `heldOut` to at "
            "least that `size`",
        ),
    )
    def validated_jsonl_is_held_out(self) -> None:
        """Validating on rows that are trained on measures memory."""
        sizes = {source.name: source.size for source in self.validation.sources}
        for source in self.data.sources:
            wanted = sizes.get(source.name, 0)
            if source.jsonl is not None and source.held_out < wanted:
                raise ValueError(
                    f"`validation.sources` asks for {wanted} prompts of source {source.name}, which holds out "
                    f"{source.held_out}; set its `heldOut` to at least {wanted}"
                )

    @rule(
        Cel(
            f"self.data.sources.all(source, {SOURCE_WEIGHT} > 0.0 || (self.validation.sources.size() > 0 "
            "? self.validation.sources.exists(named, named.name == source.name) "
            ": has(source.reasoningGym) || has(source.composition) || source.?heldOut.orValue(0) > 0) || "
            "self.schedule.stages.exists(stage, stage.?overrides.?sourceWeights[?source.name].orValue(0.0) > 0.0))",
            "a source of `data.sources` has `weight` 0 at every stage and is not validated; give it a weight, or "
            "name it in `validation.sources` (a jsonl source needs `heldOut` too)",
        ),
    )
    def every_source_is_used(self) -> None:
        """A source that is neither trained on nor validated would be read for nothing."""
        validated = {source.name for source in self.validated_sources}
        for source in self.data.sources:
            if source.name not in validated and not self.is_trained_on(source):
                raise ValueError(
                    f"source {source.name} has `weight` 0 at every stage and is not validated; give it a weight, or "
                    "name it in `validation.sources` (a jsonl source needs `heldOut` too)"
                )
