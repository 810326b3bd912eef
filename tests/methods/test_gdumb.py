"""GDumb begins anew and learns nothing but what it remembers."""

from __future__ import annotations

import pytest
import torch

from cl_ner_bench import registry
from cl_ner_bench.errors import UserError
from cl_ner_bench.learning.batches import Batch
from cl_ner_bench.learning.learner import Learner
from cl_ner_bench.learning.pretrained import pretrained
from cl_ner_bench.testing.chain import chain, step_data, trainer


@pytest.mark.parametrize("architecture", ["token", "span"])
@pytest.mark.parametrize("choice", ["random", "reservoir", "herding"])
def test_a_step_begins_at_the_pretrained_encoder_with_a_new_head(architecture: str, choice: str, encoder: str) -> None:
    made = chain(f"gdumb-{architecture}", encoder, 1, exemplar_choice=choice)
    learned = [p.detach().clone() for p in made.learner.head.parameters()]
    fresh = trainer(f"gdumb-{architecture}", encoder)
    fresh._grow(("PER",))
    start = [p.detach().clone() for p in fresh.learner.head.parameters()]
    seen = {}

    def stop(_: object) -> None:
        raise InterruptedError

    begin = type(made.learner).begin_step

    def watched(learner: Learner, step: object) -> None:
        begin(learner, step)
        seen["encoder"] = {name: p.detach().clone() for name, p in learner.encoder.named_parameters()}
        seen["head"] = [p.detach().clone() for p in learner.head.parameters()]

    made.learner.begin_step = watched.__get__(made.learner)  # type: ignore[method-assign]
    with pytest.raises(InterruptedError):
        made.learn(step_data(2), stop)
    assert all(torch.equal(seen["encoder"][name], p) for name, p in pretrained(made.learner.encoder).items())
    assert all(torch.equal(one, other) for one, other in zip(seen["head"], start, strict=False))
    assert not all(torch.equal(one, other) for one, other in zip(seen["head"], learned, strict=False))


def test_only_remembered_sentences_are_learned(encoder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = trainer("gdumb-token", encoder, {"epochs": 2}, per_type=3)
    learned: list[tuple[int, tuple[str, ...] | None]] = []
    plain = type(made.learner).open_loss

    def watched(learner: Learner, batch: Batch, output: object) -> object:
        learned.extend((e.sentence.id, e.labelled) for e in batch.examples)
        return plain(learner, batch, output)

    monkeypatch.setattr(type(made.learner), "open_loss", watched)
    made.learn(step_data(1))
    one = {exemplar.id for exemplar in made.learner.memory.exemplars}
    assert {id for id, _ in learned} == one
    learned.clear()
    made.learn(step_data(2))
    both = {exemplar.id for exemplar in made.learner.memory.exemplars}
    assert {id for id, _ in learned} == both
    assert {labelled for id, labelled in learned if id in one} == {("PER",)}
    assert len(both) == 6


def test_it_goes_on_no_other_method_as_nothing_would_be_left_of_that() -> None:
    with pytest.raises(UserError, match=r"nothing would be left of extendner; use gdumb-token"):
        registry.resolve(["gdumb+extendner"])
    assert registry.resolve(["average+gdumb-token"])


def test_no_row_is_frozen_at_its_random_start(encoder: str) -> None:
    made = trainer("gdumb-token", encoder, {"old_rows": "frozen"})
    for step in (1, 2):
        made.learn(step_data(step))
    assert not [name for name in made.learner.frozen_parameters if name.startswith("head.")]
