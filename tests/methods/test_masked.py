"""Masked fine-tuning changes the base learner's loss and no other."""

from __future__ import annotations

import pytest
import torch

from cl_ner_bench.testing.chain import chain, step_data


def test_masked_spans_are_spankl_without_distillation(encoder: str) -> None:
    found, plain = (chain(method, encoder, 3).learner.state_dict() for method in ("masked-span", "spankl-nokd"))
    for name, values in plain.items():
        torch.testing.assert_close(found[name], values, atol=1e-4, rtol=1e-3)


def test_a_method_with_a_loss_of_its_own_stays_as_it_is(encoder: str) -> None:
    found, plain = (chain(method, encoder).learner.state_dict() for method in ("masked+extendner", "extendner"))
    assert all(torch.equal(found[name], values) for name, values in plain.items())


@pytest.mark.parametrize("method", ["ewc+masked-token", "ewc+masked-span"])
def test_other_plug_ins_add_to_it(method: str, encoder: str) -> None:
    assert set(chain(method, encoder, 1).learn(step_data(2))["losses"]) == {"open", "ewc"}
