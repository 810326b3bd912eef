"""Experts: one learns, none is changed by later steps, and all predict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cl_ner_bench.learning.batches import Batch
from cl_ner_bench.learning.trainer import Trainer
from cl_ner_bench.testing.chain import CORPUS, SPLIT, chain, step_data, trainer

pytestmark = pytest.mark.slow  # the import of PEFT takes seconds


@pytest.mark.parametrize("architecture", ["token", "span"])
def test_later_steps_leave_an_experts_predictions_alone(architecture: str, encoder: str, tmp_path: Path) -> None:
    made = trainer(f"experts-{architecture}", encoder, {"epochs": 12}, lora_lr=1e-2)
    text = [s.only(()) for s in CORPUS.parts["test"]]
    logits, states = [], []
    for step in (1, 2):
        made.learn(step_data(step))
        ((_, output),) = made.learner.outputs([all_words(made)])
        logits.append(output.logits)
        states.append({name: p.detach().clone() for name, p in made.learner.named_parameters()})
    n = logits[0].shape[1]
    assert logits[1].shape[1] == 2 * n
    assert torch.equal(logits[1][:, :n], logits[0])
    assert all(torch.equal(states[1][name], value) for name, value in states[0].items())
    found = {p.type for ps in made.predict(text) for p in ps}
    assert found == {"PER", "LOC"}
    made.save(tmp_path)
    loaded = trainer(f"experts-{architecture}", encoder)
    loaded.load(tmp_path)
    assert loaded.predict(text) == made.predict(text)
    assert loaded.learner.frozen_parameters == made.learner.frozen_parameters


def all_words(made: Trainer) -> Batch:
    return Batch(tuple(made._examples(CORPUS.parts["test"], "test")))


@pytest.mark.parametrize("architecture", ["token", "span"])
def test_the_newest_expert_alone_learns(architecture: str, encoder: str) -> None:
    made = chain(f"experts-{architecture}", encoder)
    for layer in made.learner.adapted():  # type: ignore[operator]
        one, two = layer.lora_A["expert1"].weight, layer.lora_A["expert2"].weight
        assert not torch.equal(one, two)
        assert not one.requires_grad
        assert two.requires_grad
        assert layer.active_adapters == ["expert2"]


def test_a_step_without_a_new_type_changes_nothing(encoder: str) -> None:
    made = chain("experts-token", encoder)
    before = {name: value.clone() for name, value in made.learner.state_dict().items()}
    data = SPLIT.step_data(CORPUS, 1)
    record = made.learn(replace(data, step=3, types=("PER", "LOC")))
    assert record["updates"] == 0
    assert all(torch.equal(value, before[name]) for name, value in made.learner.state_dict().items())


@pytest.mark.parametrize("architecture", ["token", "span"])
def test_what_a_plug_in_freezes_stays_frozen(architecture: str, encoder: str) -> None:
    made = chain(f"freeze-bottom+experts-{architecture}", encoder, frozen_layers=1)
    adapters = {name: p for name, p in made.learner.named_parameters() if "lora_B.expert2" in name}
    assert {"layer.0." in name for name in adapters} == {True, False}
    for name, p in adapters.items():
        assert p.any() == ("layer.0." not in name), name
