"""Keys and values of a prompt that several packs continue, and the gradients that come back to it: by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from prorl_trainer.engines.attention.interface import of_prefix
from prorl_trainer.engines.prefix import Prefix, links
from tests.unit.trainer.test_packed_attention import continuing, make_pack

LAYER, OTHER = nn.Identity(), nn.Identity()


def ones(length: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.ones(1, 1, length, 1, dtype=dtype)


def test_gradients_of_two_layers_and_two_continuations_by_hand() -> None:
    """Keys w and 2 w, values 3 w and 4 w of a weight w, at two positions; each continuation's loss is 5 sum(keys) + 7
    sum(values) of the prefix.
    """
    weight = torch.tensor(1.0, requires_grad=True)
    prefix = Prefix()
    prefix.keep(LAYER, ones(2) * weight, 3 * ones(2) * weight)
    prefix.keep(OTHER, 2 * ones(2) * weight, 4 * ones(2) * weight)
    for _ in range(2):
        loss = torch.zeros(())
        for layer in (LAYER, OTHER):
            keys, values = prefix.before(layer, ones(3), ones(3))
            assert keys.shape == values.shape == (1, 1, 5, 1)
            loss = loss + 5 * keys[:, :, :2].sum() + 7 * values[:, :, :2].sum()
        loss.backward()  # type: ignore[no-untyped-call]
    (gradient,) = torch.autograd.grad(prefix.loss(), weight)
    assert float(gradient) == 2 * 2 * (5 * (1 + 2) + 7 * (3 + 4))


def test_the_prefix_is_in_front() -> None:
    prefix = Prefix()
    prefix.keep(LAYER, 2 * ones(2), 3 * ones(2))
    keys, values = prefix.before(LAYER, ones(1), ones(1))
    assert keys.flatten().tolist() == [2, 2, 1]
    assert values.flatten().tolist() == [3, 3, 1]


def test_gradients_are_summed_up_in_float32() -> None:
    """Five hundred times 1: in bfloat16 the 256th would be the last that counts."""
    key = ones(1, torch.bfloat16).requires_grad_()
    prefix = Prefix()
    prefix.keep(LAYER, key * 1, key * 2)
    for _ in range(500):
        keys, _ = prefix.before(LAYER, ones(1, torch.bfloat16), ones(1, torch.bfloat16))
        assert keys.dtype == torch.bfloat16
        keys.sum().backward()  # type: ignore[no-untyped-call]
    (gradient,) = torch.autograd.grad(prefix.loss(), key)
    assert float(gradient) == 500


def test_a_layer_that_is_computed_again_is_not_kept_again_and_one_that_attends_twice_is_refused() -> None:
    prefix = Prefix()
    prefix.keep(LAYER, ones(1), ones(1))
    with pytest.raises(ValueError, match="Identity attends twice in one pass"):
        prefix.keep(LAYER, ones(1), ones(1))
    prefix.before(LAYER, ones(1), ones(1))
    assert prefix.keep(LAYER, 9 * ones(1), ones(1))[0].item() == 9
    assert prefix.before(LAYER, ones(1), ones(1))[0].flatten().tolist() == [1, 1]


def test_links_follow_the_packs() -> None:
    alone, continues = make_pack((3, [2])), continuing(make_pack((3, [2])), 2)
    twice, once = (replace(make_pack((2, [1])), num_continuations=count) for count in (2, 1))
    found = list(links([alone, twice, continues, continues, once, continues, alone]))
    assert [(link.begins, link.ends) for link in found] == [
        (False, False), (True, False), (False, False), (False, True), (True, False), (False, True), (False, False),
    ]  # fmt: skip
    assert found[1].prefix is found[2].prefix is found[3].prefix
    assert found[4].prefix is found[5].prefix is not found[1].prefix
    assert [link.prefix is None for link in found] == [True, False, False, False, False, False, True]


def test_a_dense_mask_continues_nothing() -> None:
    with pytest.raises(TypeError, match="not under a dense mask"):
        of_prefix(torch.ones(1, 1, 3, 3, dtype=torch.bool), Prefix().keep)
