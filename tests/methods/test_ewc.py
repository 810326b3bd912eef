"""EWC and MAS: importance and penalty against known values, and what a chain of steps does with them.

Values: linear regression of three samples, by the formulas; penalty, loss and gradients also as the code base of arXiv
2312.07887 (models/EWC.py at cc2bf9d) gives them for its own importance.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from cl_ner_bench.methods.ewc import consolidate, penalty
from torch import Tensor, nn

from cl_ner_bench.learning.carried import Carried
from cl_ner_bench.learning.importance import importance
from cl_ner_bench.testing.chain import chain, step_data, trainer

BATCHES = [
    (torch.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, 1.0]]), torch.tensor([1.0, 0.0])),
    (torch.tensor([[2.0, 0.0, 1.0]]), torch.tensor([2.0])),
]
SINGLY = [(x[[i]], y[[i]]) for x, y in BATCHES for i in range(len(x))]


class Regression(nn.Module):
    settings: Any = {"ewc_weight": 5000, "ewc_decay": 1.0}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.carried = Carried()
        self.w, self.b = nn.Parameter(torch.tensor([0.5, -0.2, 0.1])), nn.Parameter(torch.tensor(0.3))

    def forward(self, batch: Any) -> Tensor:
        return batch[0] @ self.w + self.b


def error(batch: Any, output: Tensor) -> Tensor:
    return (output - batch[1]).square().mean()


def test_importance_is_the_mean_square_of_single_gradients() -> None:
    model: Any = Regression()
    found = importance(model, SINGLY, error)
    assert found["w"].tolist() == pytest.approx([2.4, 1.973333333, 0.533333333], abs=1e-6)
    assert found["b"].item() == pytest.approx(1.013333333, abs=1e-6)
    assert model.training
    assert model.w.grad is None
    assert model.w.tolist() == Regression().w.tolist()


def test_the_square_of_a_batchs_mean_gradient_is_another_number() -> None:
    model: Any = Regression()
    of_batches = importance(model, BATCHES, error)
    assert (of_batches["w"] - importance(model, SINGLY, error)["w"]).abs().max() > 0.1


def test_penalty_and_its_gradient() -> None:
    model: Any = Regression()
    assert penalty(model, "ewc") == {}
    consolidate(model, "ewc", {"w": torch.tensor([2.16, 2 / 3, 0.76 * 2 / 3]), "b": torch.tensor(0.88 * 2 / 3)})
    with torch.no_grad():
        model.w += torch.tensor([0.01, -0.02, 0.03])
        model.b += 0.05
    loss = error(BATCHES[0], model(BATCHES[0])) + penalty(model, "ewc")["ewc"]
    loss.backward()
    assert loss.item() == pytest.approx(6.2153333333, abs=1e-5)  # single precision
    assert model.w.grad.tolist() == pytest.approx([107.42, -67.5666666667, 76.26], rel=1e-5)
    assert model.b.grad.item() == pytest.approx(146.3466666667, rel=1e-5)


def test_importance_of_steps_adds_up_with_decay() -> None:
    model: Any = Regression()
    model.settings = {"ewc_weight": 1.0, "ewc_decay": 0.5}
    for value in (1.0, 3.0):
        consolidate(model, "ewc", {"b": torch.tensor(value)})
    assert model.carried["ewc.importance.b"] == 3.5


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ewc-token", "ewc-span", "mas-token", "mas-span", "ewc+extendner", "mas+spankl"])
def test_a_heavy_penalty_holds_old_weights_and_none_is_the_method_itself(method: str, encoder: str) -> None:
    name = method[:3]
    plug_in, _, base = method.partition("+")
    free = chain(method, encoder, **{f"{name}_weight": 0.0}).learner
    plain = chain(base or f"finetune-{plug_in[4:]}", encoder).learner.state_dict()
    for key, values in plain.items():  # not to the bit: the whole table of embeddings is learned
        torch.testing.assert_close(free.state_dict()[key], values, atol=1e-4, rtol=1e-3)
    held = trainer(method, encoder, {"epochs": 6}, **{f"{name}_weight": 1e4})
    loose = trainer(method, encoder, {"epochs": 6}, **{f"{name}_weight": 0.0})
    for made in (held, loose):
        made.learn(step_data(1))
    start = {key: value.clone() for key, value in held.learner.state_dict().items()}
    for made in (held, loose):
        made.learn(replace(step_data(2), selection="last"))  # the first update, at the old weights, has no penalty yet

    def moved(learner: nn.Module) -> float:
        now, key = learner.state_dict(), f"carried.{name}.importance."
        return sum(
            float((start[k] * (now[k.removeprefix(key)] - start[k.removeprefix(key)]).square()).sum())
            for k in start
            if k.startswith(key)
        )

    assert 0 < moved(held.learner) < 0.3 * moved(loose.learner)


@pytest.mark.parametrize("method", ["ewc-token", "ewc-span"])
def test_the_empirical_importance_takes_the_given_labels(method: str, encoder: str) -> None:
    drawn, given = trainer(method, encoder), trainer(method, encoder, ewc_labels="given")
    for made in (drawn, given):
        made.learn(step_data(1))
    states = [made.learner.state_dict() for made in (drawn, given)]
    key = "carried.ewc.importance.encoder.backbone.encoder.layer.0.attention.self.value.weight"
    assert not torch.equal(states[0][key], states[1][key])
    assert states[1][key].sum() > 0


@pytest.mark.slow
@pytest.mark.parametrize(("method", "own"), [("ewc+is3", "prototypes"), ("mas+pof", "replay")])
def test_what_the_method_itself_carries_stays_apart(method: str, own: str, encoder: str) -> None:
    losses = chain(method, encoder, 1).learn(step_data(2))["losses"]
    assert {method[:3], own} <= set(losses)


def test_where_nothing_learns_nothing_is_important(encoder: str) -> None:
    learner = chain("ewc-span", encoder, 1).learner
    learner.requires_grad_(False)
    assert importance(learner, [], learner.drawn_log_likelihood) == {}
