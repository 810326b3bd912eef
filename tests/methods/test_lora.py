"""Adapters act, learn and are stored; the encoder below them stays as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cl_ner_bench.errors import UserError
from cl_ner_bench.learning.batches import Batch
from cl_ner_bench.learning.pretrained import pretrained
from cl_ner_bench.testing.chain import CORPUS, chain, step_data, trainer

pytestmark = pytest.mark.slow  # the import of PEFT takes seconds


def vectors(made: Any) -> Tensor:
    """Return word vectors of the test part, in evaluation mode."""
    made.learner.eval()
    examples = made._examples(CORPUS.parts["test"], "test")
    with torch.no_grad():
        return made.learner.encode(Batch(tuple(examples)))


@pytest.mark.parametrize("method", ["lora-token", "lora-span", "o-lora-token", "o-lora+spankl", "lora+extendner"])
def test_adapters_act_and_the_encoder_stays(method: str, encoder: str) -> None:
    fresh = trainer("finetune-token", encoder)
    made = trainer(method, encoder, lora_lr=1e-2)
    if method.startswith("lora"):
        torch.testing.assert_close(vectors(made), vectors(fresh))  # B begins at 0
    made.learn(step_data(1))
    start = pretrained(fresh.learner.encoder)
    for name, p in made.learner.encoder.named_parameters():
        if "lora_" not in name:
            assert torch.equal(p, start[name.replace(".base_layer", "")]), name
            assert not p.requires_grad
        else:
            assert p.requires_grad
            assert p.abs().sum() > 0, name
    learned = vectors(made)
    assert (learned - vectors(fresh)).abs().max() > 1e-2
    # The product is what the layer adds: without it, the pretrained encoder is back.
    with torch.no_grad():
        for name, p in made.learner.encoder.named_parameters():
            if "lora_B" in name:
                p.zero_()
    torch.testing.assert_close(vectors(made), vectors(fresh))


def test_an_adapted_layer_adds_the_product_of_its_factors(encoder: str) -> None:
    made = chain("lora-token", encoder, 1, lora_rank=2, lora_alpha=6)
    made.learner.eval()
    (layer, *_) = made.learner.adapted()  # type: ignore[operator]
    x = torch.randn(5, 32)
    a, b = layer.lora_A["lora"].weight, layer.lora_B["lora"].weight
    torch.testing.assert_close(layer(x), layer.base_layer(x) + 3 * x @ a.T @ b.T)


@pytest.mark.parametrize("method", ["lora-span", "o-lora-token"])
def test_a_stored_model_is_the_same(method: str, encoder: str, tmp_path: Path) -> None:
    made = chain(method, encoder)
    made.save(tmp_path)
    loaded = trainer(method, encoder)
    loaded.load(tmp_path)
    assert torch.equal(vectors(loaded), vectors(made))
    assert loaded.learner.frozen_parameters == made.learner.frozen_parameters
    records = [t.learn(step_data(3))["losses"] for t in (made, loaded)]
    assert records[0] == records[1]
    assert torch.equal(vectors(loaded), vectors(made))


def test_lora_trains_one_adapter_on_and_o_lora_a_new_one_for_each_step(encoder: str) -> None:
    one, two = (dict(chain("lora-token", encoder, steps).learner.named_parameters()) for steps in (1, 2))
    adapters = [name for name in two if "lora_" in name]
    assert adapters
    assert not any(torch.equal(one[name], two[name]) for name in adapters)
    one, two = (dict(chain("o-lora-token", encoder, steps).learner.named_parameters()) for steps in (1, 2))
    old, new = ([name for name in two if f".{step}." in name] for step in ("step1", "step2"))
    assert old
    assert len(new) == len(old)
    assert all(torch.equal(one[name], two[name]) and not two[name].requires_grad for name in old)
    assert all(two[name].requires_grad and two[name].any() for name in new)


def test_o_lora_sums_all_adapters_and_penalises_their_overlap(encoder: str) -> None:
    made = chain("o-lora-token", encoder)
    learner: Any = made.learner
    learner.eval()
    x, layer = torch.randn(5, 32), next(iter(learner.adapted()))
    steps = ("step1", "step2")
    products = sum(2 * x @ layer.lora_A[k].weight.T @ layer.lora_B[k].weight.T for k in steps)
    torch.testing.assert_close(layer(x), layer.base_layer(x) + products)

    batch = Batch(tuple(made._examples(CORPUS.parts["train"][:2], "train")))
    expected = sum((m.lora_A["step1"].weight @ m.lora_A["step2"].weight.T).abs().sum() for m in learner.adapted())
    assert torch.isclose(learner.losses(batch, learner(batch), None)["orthogonal"], 0.5 * expected)


def test_a_layer_that_is_not_there_is_named(encoder: str) -> None:
    with pytest.raises(UserError, match=r"lora_modules is \['q_proj'\]: .*q_proj"):
        trainer("lora-token", encoder, lora_modules=["q_proj"])
