"""L2 and frozen layers hold what they say, and nothing else."""

from __future__ import annotations

import pytest
import torch

from cl_ner_bench.errors import UserError
from cl_ner_bench.learning.pretrained import pretrained
from cl_ner_bench.testing.chain import chain, step_data, trainer


@pytest.mark.parametrize("method", ["l2-previous-token", "l2-init-span", "l2-previous+spankl", "l2-init+extendner"])
def test_without_weight_it_is_the_method_itself(method: str, encoder: str) -> None:
    plug_in, _, base = method.partition("+")
    plain = chain(base or f"finetune-{plug_in.rpartition('-')[2]}", encoder).learner.state_dict()
    found = chain(method, encoder, l2_weight=0.0).learner.state_dict()
    assert found.keys() == plain.keys(), "nothing is carried"
    for name, values in plain.items():  # not to the bit: the whole table of embeddings is learned
        torch.testing.assert_close(found[name], values, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("anchor", ["previous", "init"])
def test_the_loss_is_the_squared_distance_to_the_anchor(anchor: str, encoder: str) -> None:
    made = trainer(f"l2-{anchor}-token", encoder, l2_weight=0.5)
    made.learn(step_data(1))
    old = {name: p.detach().clone() for name, p in made.learner.encoder.named_parameters()}
    start = pretrained(made.learner.encoder)
    first = chain(f"l2-{anchor}-token", encoder, 1, l2_weight=0.5)
    record = first.learn(step_data(2))
    distance = sum(float((old[name] - start[name]).square().sum()) for name in old)
    assert distance > 0
    penalty = record["losses"]["l2"][0]
    if anchor == "init":  # the distance that the step begins with
        assert penalty > 0.25 * distance
    else:
        assert 0 < penalty < 0.25 * distance


@pytest.mark.slow  # PEFT is imported
@pytest.mark.parametrize(
    "method", ["l2-init+lora-token", "wise-ft+lora-span", "magmax+o-lora-token", "ties+lora-token", "lora+gdumb-span"]
)
def test_adapters_have_no_pretrained_values(method: str, encoder: str) -> None:
    with pytest.raises(UserError, match="the pretrained encoder, which has no backbone"):
        chain(method, encoder, 1)


@pytest.mark.parametrize("method", ["freeze-bottom-token", "freeze-bottom-span", "freeze-bottom+spankl"])
def test_the_lowest_layers_are_frozen_after_the_first_step(method: str, encoder: str) -> None:
    one, two = (chain(method, encoder, steps, frozen_layers=1).learner.state_dict() for steps in (1, 2))
    changed = {name for name, values in one.items() if not torch.equal(values, two[name])}
    frozen = {name for name in one if ".embeddings." in name or "encoder.layer.0." in name}
    assert frozen
    assert not changed & frozen
    assert any("encoder.layer.1." in name for name in changed)
    assert any(name.startswith("head.") for name in changed)
