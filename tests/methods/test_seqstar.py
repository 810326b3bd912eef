"""SEQ's variants against values of their code (zzz47zzz/codebase-for-incremental-learning-with-llm@cc2bf9d,
models/SEQ.py)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest
import torch

from cl_ner_bench import method_code, registry
from cl_ner_bench.corpora.sentence import Mention, Sentence
from cl_ner_bench.learning.batches import Batch
from cl_ner_bench.learning.learner import Learner, Output, Step
from cl_ner_bench.testing.toy import EXAMPLES, TYPES, NoEncoder, learner, losses, rows, student, tensor


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


def test_old_gold_is_learned_where_the_types_come_back() -> None:
    sentences = ((0, [(1, 3, "Z"), (3, 5, "X")]), (1, [(0, 1, "Y"), (2, 3, "Z")]))
    known = [Sentence(i, EXAMPLES[i].sentence.words, tuple(Mention(*m) for m in found)) for i, found in sentences]
    batch = Batch(tuple(replace(EXAMPLES[s.id], sentence=s) for s in known))
    found = learner("seqstar").losses(batch, student(batch), None)
    assert found["ce"].item() == pytest.approx(1.0927828566, abs=1e-6)


def test_the_second_task_has_the_columns_so_far() -> None:
    made = method_code.load_class(registry.methods()["seqstar"])(NoEncoder(), {"warmup_epochs": 3})
    given = iter(tensor("student_head"))
    for type in ("X", "Y"):
        made.grow((type,), lambda _: torch.Generator().manual_seed(0))
    made.double()
    with torch.no_grad():
        for block in made.head.blocks:
            block.bias.zero_()
            for row in block.weight:
                row.copy_(next(given))
    made.step, made.labelled, made.n_old = 2, ("Y",), 1
    made.head.freeze_unlabelled(("Y",))
    gold = [tuple(Mention(m.start, m.end, "Y") for m in e.sentence.mentions) for e in EXAMPLES[:2]]
    examples = zip(EXAMPLES[:2], gold, strict=True)
    batch = Batch(tuple(replace(e, sentence=replace(e.sentence, mentions=mentions)) for e, mentions in examples))
    loss = made.losses(batch, Output(made.head(tensor("student_words")[:9], [5, 4])), None)["ce"]
    assert loss.item() == pytest.approx(1.6026870013, abs=1e-6)
    loss.backward()
    *_, new = made.head.blocks
    assert new.bias.grad.tolist() == pytest.approx([0.0017783469, 0.1211602928], abs=1e-6)
    weights = [-0.0619977696, 0.1343975931, -0.102580715, -0.0155935119, -0.2724615331, 0.0199893215]
    assert new.weight.grad[0].tolist() == pytest.approx(weights, abs=1e-6)
