"""What gradient checkpointing keeps of a layer besides its input where it computes again what is cheap alone.

Products of matrices and the outputs of attention's kernels are nearly all of a layer's time and about four fifths of
what waits for its backward pass (half, where a block is not gated as `gated_blocks` has it); norms, rotary embeddings
and activation functions are the rest. Scores are computed again, as in the selective recomputation of Korthikanti et
al. (arXiv 2205.05198, section 5). Not under ZeRO-3: it gathers weights between a layer's operators, once so and once
otherwise, while what is kept is found again by the order of the operators.
"""

from __future__ import annotations

from typing import Any

PRODUCTS = frozenset({"aten::mm", "aten::addmm", "aten::_grouped_mm"})
"""Of weights, and of experts' weights. Not `bmm`: where attention forms its scores they are one, and grow with the
square of a pack.
"""


def is_kept(operator: str) -> bool:
    """Tell whether an operator's output is kept, by its name, as `aten::mm`."""
    return operator in PRODUCTS or "attention" in operator or "attn" in operator


def keeping_products() -> Any:
    """Return what `torch.utils.checkpoint` takes as its `context_fn`."""
    from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts

    def policy(_: Any, operator: Any, *__: Any, **___: Any) -> CheckpointPolicy:
        kept = is_kept(operator._schema.name)
        return CheckpointPolicy.MUST_SAVE if kept else CheckpointPolicy.PREFER_RECOMPUTE

    return create_selective_checkpoint_contexts(policy)  # type: ignore[no-untyped-call]
