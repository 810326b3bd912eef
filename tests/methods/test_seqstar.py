"""SEQ's variants against values of their code (zzz47zzz/codebase-for-incremental-learning-with-llm@cc2bf9d,
models/SEQ.py)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest
import torch

from cl_ner_bench.learning.batches import Batch
from cl_ner_bench.learning.learner import Learner, Output, Step
from cl_ner_bench.testing.toy import EXAMPLES, TYPES, learner, losses, rows, tensor


@pytest.fixture(autouse=True)
def _toy(double: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute in float64, with the student's word vectors."""

    def outputs(_: Learner, batches: Iterable[Batch]) -> Iterator[tuple[Batch, Output]]:
        for batch in batches:
            words = tensor("corpus_student_words")[rows(tuple(e.index for e in batch.examples))]
            yield batch, Output(words @ tensor("student_head").T, words)

    monkeypatch.setattr(Learner, "outputs", outputs)


@pytest.mark.parametrize("name", ["seqstar", "seq-fixbc", "seq-fixc", "seq-cos"])
def test_all_words_are_learned_and_new_rows_learn(name: str) -> None:
    made = learner(name)
    assert losses(made) == pytest.approx({"ce": 1.6320177455}, abs=1e-6)
    learning = [any(p.requires_grad for p in block.parameters()) for block in made.head.blocks]
    assert learning == [False, False, False, True]  # O, X, Y, Z


@pytest.mark.parametrize(
    ("name", "warmup", "learns"), [("seqstar", 3, [1, 2, 3]), ("seq-fixbc", 0, []), ("seq-fixc", None, [1, 2, 3, 4])]
)
def test_epochs_of_the_first_task_in_which_the_encoder_learns(name: str, warmup: int, learns: list[int]) -> None:
    made = learner(name)
    assert made.settings.get("warmup_epochs") == warmup
    made.encoder = torch.nn.Linear(1, 1)  # type: ignore[assignment]
    made.step, found = 1, []
    made.begin_step(Step(1, ("X",), ("X",), (), (), ("X",)))
    for epoch in (1, 2, 3, 4):
        made.begin_epoch(epoch)
        found += [] if made.encoder_frozen else [epoch]
    assert found == learns


PROTOTYPES = [[-0.55425, -0.71025, -0.6305, -0.49775, 0.266, -0.269], [0.1855, 0.9625, -0.716, 0.7055, 0.108, 0.3225]]


def test_rows_of_prototypes() -> None:
    made = learner("seq-prototype")
    assert not made.trains
    made.end_step(Step(3, TYPES, ("Z",), (), (), ("Z",), examples=EXAMPLES))
    assert torch.allclose(made.head.weight[5:], torch.tensor(PROTOTYPES), rtol=0, atol=1e-6)
    assert torch.equal(made.head.weight[:5], tensor("student_head")[:5])  # O is from task 1


def test_the_first_task_gives_o_its_prototype() -> None:
    made = learner("seq-prototype")
    made.step = 1
    assert made.trains
    made.end_step(Step(1, ("Z",), ("Z",), (), (), ("Z",), examples=EXAMPLES))
    tags = torch.cat([Batch((example,)).tag_targets(TYPES) for example in EXAMPLES])
    assert torch.allclose(made.head.weight[0], tensor("corpus_student_words")[tags == 0].mean(0))
