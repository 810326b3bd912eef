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


@pytest.mark.parametrize("method", ["ewc+masked-token", "masked+ewc-span"])
def test_other_plug_ins_add_to_it(method: str, encoder: str) -> None:
    assert set(chain(method, encoder, 1).learn(step_data(2))["losses"]) == {"open", "ewc"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ewc+replay-token", "replay+ewc-token"),
        ("replay+l2-previous-span", "l2-previous+replay-span"),
        pytest.param("average+ewc-span", "ewc+average-span", marks=pytest.mark.slow),
        pytest.param("magmax+ewc-span", "ewc+magmax-span", marks=pytest.mark.slow),
        ("mas+a-gem-token", "a-gem+mas-token"),
        pytest.param("cofima+masked-token", "masked+cofima-token", marks=pytest.mark.slow),
        ("masked+replay-token", "replay-token"),  # which leaves open what is unlabelled itself
    ],
)
def test_the_order_of_plug_ins_does_not_matter(one: str, other: str, encoder: str) -> None:
    found, expected = (chain(method, encoder).learner.state_dict() for method in (one, other))
    assert found.keys() == expected.keys()
    for name, values in expected.items():  # not to the bit: the losses are added up in another order
        torch.testing.assert_close(found[name], values, atol=1e-5, rtol=1e-4)
