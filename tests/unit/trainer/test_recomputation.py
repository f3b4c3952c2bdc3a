"""Which operators' outputs gradient checkpointing keeps, against those that there are."""

from __future__ import annotations

import pytest
import torch
import torch.nn.attention.varlen  # its operator is known from here on

from prorl_trainer.engines.recomputation import PRODUCTS, is_kept

ATTENTION = (
    "aten::_scaled_dot_product_flash_attention_for_cpu",
    "aten::_scaled_dot_product_flash_attention",
    "aten::_scaled_dot_product_efficient_attention",
    "aten::_scaled_dot_product_cudnn_attention",
    "torch_attn::_varlen_attn",
)


@pytest.mark.parametrize("name", [*sorted(PRODUCTS), *ATTENTION])
def test_what_is_kept_exists_by_its_name(name: str) -> None:
    namespace, operator = name.split("::")
    assert hasattr(getattr(torch.ops, namespace), operator)
    assert is_kept(name)


@pytest.mark.parametrize("name", ["aten::bmm", "aten::baddbmm", "aten::silu", "aten::mul", "aten::rsqrt", "aten::cat"])
def test_what_is_cheap_and_what_grows_with_the_square_of_a_pack_is_computed_again(name: str) -> None:
    assert hasattr(torch.ops.aten, name.removeprefix("aten::"))
    assert not is_kept(name)
