"""A recipe's optimiser, schedule, rates of the first step, and what it does to the rows of the head."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cl_ner_bench import method_code, registry
from cl_ner_bench.corpora.card import Card
from cl_ner_bench.corpora.cards import recipe
from cl_ner_bench.learning.batches import Batch
from cl_ner_bench.learning.optim import SGD, AdamW, scheduled
from cl_ner_bench.learning.step_training import StepTraining
from cl_ner_bench.learning.trainer import Trainer
from cl_ner_bench.models.heads.cosine import CosineHead
from cl_ner_bench.scenarios.task import StepData, Task, TaskSplit
from cl_ner_bench.testing.tiny import RECIPE, tiny_corpus

CORPUS = tiny_corpus()
TASKS = tuple(
    Task(type, (type,), tuple(range(8 * k, 8 * k + 8)), tuple(range(4 * k, 4 * k + 4)))
    for k, type in enumerate(("PER", "LOC", "DATE"))
)
SPLIT = TaskSplit("tiny", CORPUS.fingerprint, "split", 0, TASKS, tuple(range(12)))
CFNER = recipe(Card("x", "X"), "cfner", "token") | {"epochs": 2, "batch_size": 4, "exact": False}


def trainer(encoder: str, given: Mapping[str, Any] = CFNER, method: str = "finetune-token", **more: Any) -> Trainer:
    card = registry.methods()[method]
    return Trainer(method_code.load_class(card), card.settings, {**given, **more}, encoder, seed=0)


def data(step: int, cumulative: bool = False) -> StepData:
    return SPLIT.step_data(CORPUS, step, cumulative)


def weights(made: Trainer) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in made.learner.state_dict().items()}


def changed(made: Trainer, step: StepData) -> set[str]:
    """Learn a step; return the old tensors of head and encoder that it changed, those of the encoder as one."""
    before = weights(made)
    made.learn(step)
    found = {name for name, value in weights(made).items() if name in before and not torch.equal(value, before[name])}
    return {"encoder" if name.startswith("encoder.") else name for name in found}


def test_with_cfners_recipe_old_rows_stay_and_all_else_learns(encoder: str) -> None:
    made = trainer(encoder)
    assert isinstance(made.learner.head, CosineHead)
    assert made.learn(data(1))["warmup_updates"] == 0
    assert changed(made, data(2)) == {"encoder", "head.scale"}  # rows: head.blocks.0 is O, head.blocks.1 PER
    assert changed(made, data(3)) == {"encoder", "head.scale"}
    assert made.learner.head.types == ("PER", "LOC", "DATE")


def test_old_rows_learn_where_the_recipe_does_not_freeze_them(encoder: str) -> None:
    made = trainer(encoder, old_rows="learn")
    made.learn(data(1))
    assert changed(made, data(2)) >= {"head.blocks.0.weight", "head.blocks.1.weight"}


def test_a_type_that_comes_back_learns_again(encoder: str) -> None:
    made = trainer(encoder)
    for step in (1, 2):
        made.learn(data(step))
    again = replace(data(1), step=3)
    assert changed(made, again) == {"encoder", "head.scale", "head.blocks.1.weight"}


def test_nothing_is_frozen_where_all_types_have_labels(encoder: str) -> None:
    made = trainer(encoder, method="joint-token-warm")
    made.learn(data(1, cumulative=True))
    assert changed(made, data(2, cumulative=True)) >= {"encoder", "head.blocks.0.weight", "head.blocks.1.weight"}


@pytest.mark.parametrize(("new_rows", "part"), [("imprint", "train"), ("imprint-dev", "dev")])
def test_new_rows_start_as_the_means_of_their_words(
    new_rows: str, part: str, encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trainer(encoder, new_rows=new_rows)
    made.learn(data(1))
    head: Any = made.learner.head
    old = head.weight.detach().clone()
    sums = {"B": torch.zeros(32), "I": torch.zeros(32)}
    for sentence in getattr(data(2), part):  # LOC is a single word
        ((words, at),) = [(_words(made, sentence), m.start) for m in sentence.mentions if m.type == "LOC"]
        sums["B"] += F.normalize(words[at], dim=0)
    found: list[Tensor] = []
    begin = type(made.learner).begin_step
    monkeypatch.setattr(
        type(made.learner),
        "begin_step",
        lambda self, step: (found.append(self.head.weight.detach().clone()), begin(self, step)),
    )
    made.learn(data(2))
    expected = F.normalize(sums["B"], dim=0) * old[1:].norm(dim=1).mean()
    assert torch.equal(found[0][:3], old)
    assert torch.allclose(found[0][3], expected, atol=1e-6)
    assert torch.equal(found[0][4], found[0][3])  # no word is I-LOC: the row of B-LOC


def _words(made: Trainer, sentence: Any) -> Tensor:
    batch = Batch(tuple(made._examples([sentence], "train")))
    ((_, output),) = made.learner.outputs([batch])
    assert output.words is not None
    return output.words


def test_the_first_epochs_of_a_models_first_step_have_their_own_rate(
    encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, rates = trainer(encoder, epochs=3, first_lr_epochs=2), []
    update = StepTraining._update

    def spy(training: StepTraining, batch: Batch, rate: float) -> dict[str, Tensor]:
        rates.append(rate)
        return update(training, batch, rate)

    monkeypatch.setattr(StepTraining, "_update", spy)
    for step in (1, 2):
        made.learn(data(step))
    assert rates == pytest.approx([5.0] * 4 + [1.0] * 2 + [1.0] * 6)  # 2e-3 and 4e-4; two batches an epoch


def test_schedules() -> None:
    warm = [scheduled(name, 1, 4, 20) for name in ("cosine", "linear", "constant")]
    assert warm == [0.25] * 3
    at_half = {name: scheduled(name, 12, 4, 20) for name in ("cosine", "linear", "constant")}
    assert at_half == pytest.approx({"cosine": 0.5, "linear": 0.5, "constant": 1.0})
    at_quarter = {name: scheduled(name, 8, 4, 20) for name in ("cosine", "linear", "constant")}
    assert at_quarter == pytest.approx({"cosine": 0.5 * (1 + math.sqrt(0.5)), "linear": 0.75, "constant": 1.0})


def test_optimiser_and_decay_are_the_recipes(encoder: str) -> None:
    recall = recipe(Card("x", "X"), "recall", "span") | {"exact": False}
    by_recipe = {}
    for name, given, method in (
        ("cfner", CFNER, "finetune-token"),
        ("recall", recall, "spankl"),
        ("", RECIPE, "spankl"),
    ):
        made = trainer(encoder, given, method)
        made.learn(data(1) if name == "cfner" else replace(data(1), train=data(1).train[:2]))
        groups = made.learner.parameter_groups(*(made.recipe[key] for key in ("lr", "head_lr", "weight_decay")))
        kind = type(made.learner.make_optimizer(groups))
        by_recipe[name] = (kind, [group["weight_decay"] for group in groups])
    assert by_recipe == {  # matrices and vectors of the head, then of the encoder
        "cfner": (SGD, [5e-4, 5e-4, 5e-4, 5e-4]),
        "recall": (AdamW, [0.01, 0.01, 5e-4, 5e-4]),
        "": (AdamW, [0.01, 0.0, 0.01, 0.0]),
    }


@pytest.mark.parametrize("name", ["cfner", "recall"])
def test_word_vectors_reach_the_head_without_dropout(name: str, encoder: str) -> None:
    """In both codes the head reads the encoder's last layer, which has a dropout of its own."""
    learner = trainer(encoder, recipe(Card("x", "X"), name, "token") | {"exact": False}).learner.train()
    assert learner.dropout == 0
    assert {module.p for module in learner.encoder.modules() if isinstance(module, torch.nn.Dropout)} == {0.1}


@pytest.mark.parametrize("method", ["cfner-codebase", "cpfd-codebase", "rdp-codebase", "extendner-codebase"])
def test_the_code_base_of_learn_or_recall_freezes_old_rows_of_some_methods(method: str, encoder: str) -> None:
    given = recipe(Card("x", "X"), "recall", "token", of_method=registry.methods()[method].recipes)
    made = trainer(encoder, given | {"exact": False, "epochs": 1}, method)
    made.learn(data(1))
    moved = {name for name in changed(made, data(2)) if name.startswith("head.blocks")}
    old = {f"head.blocks.{block}.{part}" for block in (0, 1) for part in ("weight", "bias")}
    assert moved == (old if method == "extendner-codebase" else set())


def test_clip_0_is_no_clipping(encoder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def clip(*_: Any) -> None:
        raise ArithmeticError("clipped")

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", clip)
    trainer(encoder).learn(data(1))
    with pytest.raises(ArithmeticError):
        trainer(encoder, clip=1.0).learn(data(1))


def test_a_method_with_its_own_head_keeps_it_and_says_so(encoder: str) -> None:
    made = trainer(encoder, method="addner")
    for step in (1, 2):
        assert "the head is the method's own, not the recipe's cosine head" in made.learn(data(step))["remarks"]


def test_a_stored_model_goes_on_as_the_one_in_memory(encoder: str, tmp_path: Path) -> None:
    going, loaded = trainer(encoder), trainer(encoder)
    going.learn(data(1))
    going.save(tmp_path)
    loaded.load(tmp_path)
    for made in (going, loaded):
        made.learn(data(2))
    assert all(torch.equal(value, weights(loaded)[name]) for name, value in weights(going).items())
