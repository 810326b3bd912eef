"""Types that come back, and steps that bring no new type, with a tiny real BERT.

The conformance suite checks that every method learns them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cl_ner_bench import method_code, registry
from cl_ner_bench.learning.trainer import Trainer
from cl_ner_bench.scenarios.task import Task, TaskSplit
from cl_ner_bench.testing import tiny
from cl_ner_bench.testing.tiny import tiny_corpus

CORPUS = tiny_corpus()
RECIPE = tiny.RECIPE | {"epochs": 1}


def split(*types: tuple[str, ...]) -> TaskSplit:
    """A task of 6 train and 3 dev sentences for each group of types."""
    tasks = [
        Task(f"task{k}", t, tuple(range(6 * k, 6 * k + 6)), tuple(range(3 * k, 3 * k + 3))) for k, t in enumerate(types)
    ]
    return TaskSplit("tiny", CORPUS.fingerprint, "free", 0, tuple(tasks), CORPUS.ids("test"))


def learn(method: str, tasks: TaskSplit, encoder: str) -> Trainer:
    card = registry.methods()[method]
    trainer = Trainer(method_code.load_class(card), card.settings, RECIPE, encoder, seed=0)
    for step in range(1, tasks.n_steps + 1):
        if card.start == "pretrained":
            trainer = Trainer(method_code.load_class(card), card.settings, RECIPE, encoder, seed=0)
        trainer.learn(tasks.step_data(CORPUS, step, card.is_cumulative))
    return trainer


def test_a_returning_type_learns_from_labels_and_the_others_from_the_teacher(encoder: str) -> None:
    """SpanKL's columns are independent: with the encoder fixed, only labelled and distilled ones could move."""
    tasks = split(("PER",), ("LOC", "DATE"), ("DATE",))
    card = registry.methods()["spankl-nokd"]
    trainer = Trainer(method_code.load_class(card), card.settings, RECIPE | {"weight_decay": 0.0}, encoder, seed=0)
    for step in (1, 2):
        trainer.learn(tasks.step_data(CORPUS, step))
    before = {name: value.clone() for name, value in trainer.learner.head.state_dict().items()}
    trainer.learner.freeze_encoder()
    trainer.learn(tasks.step_data(CORPUS, 3))
    trainer.learner.enter(tasks.step_data(CORPUS, 3))
    assert trainer.learner.unlabelled == ("PER", "LOC")
    after = trainer.learner.head.state_dict()
    moved = {name.split(".")[1] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"1"}  # the block that LOC and DATE share; PER's stands still


@pytest.mark.parametrize("method", ["seqstar", "frozen-span"])
def test_frozen_columns_learn_again_where_their_type_comes_back(method: str, encoder: str) -> None:
    two = learn(method, split(("PER",), ("LOC",)), encoder)
    three = learn(method, split(("PER",), ("LOC",), ("LOC",)), encoder)
    one, other = (t.learner.head.state_dict() for t in (two, three))
    last = [name for name in one if name.startswith(f"blocks.{len(two.learner.head.blocks) - 1}.")]
    assert any(not torch.equal(one[name], other[name]) for name in last)
    assert all(torch.equal(one[name], other[name]) for name in one.keys() - set(last) if name.startswith("blocks"))


def test_a_step_without_new_types_goes_on_to_the_bit_after_a_stop(encoder: str, tmp_path: Path) -> None:
    tasks = split(("PER", "LOC"), ("PER", "LOC"))
    whole, first = learn("extendner", tasks, encoder), learn("extendner", split(("PER", "LOC")), encoder)
    first.save(tmp_path)
    card = registry.methods()["extendner"]
    second = Trainer(method_code.load_class(card), card.settings, RECIPE, encoder, seed=0)
    second.load(tmp_path)
    second.learn(tasks.step_data(CORPUS, 2))
    one, other = whole.learner.state_dict(), second.learner.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
