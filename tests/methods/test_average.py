"""Averaging, WiSE-FT and CoFiMA: values of their formulas, and what becomes of weights after a step."""

from __future__ import annotations

import pytest
import torch
from cl_ner_bench.methods.average import weighted_mean
from torch import Tensor

from cl_ner_bench.learning.pretrained import pretrained
from cl_ner_bench.testing.chain import chain


def test_a_mean_weighted_by_information() -> None:
    before, after = torch.tensor([0.0, 1.0, 2.0]), torch.tensor([1.0, 3.0, 4.0])
    information = torch.tensor([1.0, 0.0, 2.0]), torch.tensor([3.0, 1.0, 2.0])
    assert weighted_mean(before, after, *information, 0.4).tolist() == pytest.approx([0.666667, 3.0, 2.8], abs=1e-6)
    assert weighted_mean(before, after, *information, 0.5).tolist() == pytest.approx([0.75, 3.0, 3.0], abs=1e-6)
    none = torch.zeros(3)
    assert weighted_mean(before, after, none, none, 0.4).tolist() == pytest.approx([0.4, 1.8, 2.8], abs=1e-6)


def weights(method: str, encoder: str, steps: int = 2, **settings: float) -> dict[str, Tensor]:
    learner = chain(method, encoder, steps, **settings).learner
    return {name: p.detach() for name, p in learner.named_parameters()}


@pytest.mark.slow
@pytest.mark.parametrize("base", ["finetune-token", "finetune-span", "extendner", "spankl", "experts-span"])
def test_weights_lie_between_those_before_and_after_a_step_but_not_new_rows(base: str, encoder: str) -> None:
    before, learned = weights(base, encoder, 1), weights(base, encoder)
    plug_in = f"average-{base.removeprefix('finetune-')}" if base.startswith("finetune") else f"average+{base}"
    found = weights(plug_in, encoder, average_share=0.4)
    for name, values in found.items():
        expected = 0.6 * before[name] + 0.4 * learned[name] if name in before else learned[name]
        torch.testing.assert_close(values, expected, atol=1e-6, rtol=1e-5)
    whole = weights(plug_in, encoder, average_share=1.0)
    assert all(torch.equal(values, learned[name]) for name, values in whole.items())


def test_wise_ft_goes_back_to_the_pretrained_encoder(encoder: str) -> None:
    made = chain("wise-ft-token", encoder, average_share=0.0).learner
    start = pretrained(made.encoder)
    for name, p in made.encoder.named_parameters():
        torch.testing.assert_close(p, start[name])
    assert any((p != 0).any() for p in made.head.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["token", "span"])
def test_cofima_is_averaging_where_all_information_is_cut_to_one_value(architecture: str, encoder: str) -> None:
    learned = chain(f"cofima-{architecture}", encoder).learner
    found = {name: p.detach() for name, p in learned.named_parameters()}
    mean = weights(f"average-{architecture}", encoder)
    cut = {name for name in found if (learned.carried[f"fisher.{name}"] == 1e-4).all()}
    # The information of the step before is not carried any more: weights whose gradients are large lie at the mean.
    assert cut
    values = torch.cat([found[name].flatten() for name in found if "query.weight" in name])
    expected = torch.cat([mean[name].flatten() for name in found if "query.weight" in name])
    close = torch.isclose(values, expected, atol=1e-5)
    assert 0.1 < close.double().mean() < 1
