"""ICE's tagging form against values of its code (zzz47zzz/codebase-for-incremental-learning-with-llm@cc2bf9d,
models/ICE.py), and of the authors' own for spans that are given (VT-NLP/ICE@f0f80a0, models/sep_cls.py)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from cl_ner_bench import method_code, registry
from cl_ner_bench.corpora.sentence import Mention, Sentence
from cl_ner_bench.learning.batches import Batch, Example
from cl_ner_bench.learning.learner import Learner, Output
from cl_ner_bench.testing.toy import EXAMPLES, NO_TOKENS, NoEncoder, learner, tensor

RELEASED: dict[str, Any] = json.loads(Path(__file__).with_name("ice.json").read_text())


@pytest.fixture(autouse=True)
def _toy(double: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NoEncoder, "dropout", staticmethod(lambda words, rate: words), raising=False)


def batch() -> Batch:
    """Return the toy's batch with the student's word vectors."""
    first, second = tensor("student_words")[:5], tensor("student_words")[5:9]
    given = zip(EXAMPLES[:2], (first, second), strict=True)
    return Batch(tuple(Example(e.index, e.sentence, e.tokens, vectors) for e, vectors in given))


def output(made: Learner, training: bool) -> Output:
    made.train(training)
    found: Output = made(batch())
    return found


@pytest.mark.parametrize(("name", "expected"), [("ice", 1.3780874685), ("ice-pl", 2.4101211693)])
def test_loss(name: str, expected: float) -> None:
    made = learner(name)
    found = made.losses(batch(), output(made, True), None)
    assert {key: value.item() for key, value in found.items()} == pytest.approx({"ce": expected}, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "weight", "bias"),
    [
        (
            "ice",
            [-0.1112555442, 0.100236516, -0.2101387478, -0.1889684164, -0.1880154356, -0.0131487286],
            [0.1717513973, 0.3039908726],
        ),
        (
            "ice-pl",
            [-0.0046274265, 0.1520544158, -0.0282573191, -0.0240339795, -0.1409830417, -0.0148127733],
            [-0.0713733979, 0.0495197158],
        ),
    ],
)
def test_gradient_of_the_new_rows_and_of_no_others(name: str, weight: list[float], bias: list[float]) -> None:
    made = learner(name)
    made.losses(batch(), output(made, True), None)["ce"].backward()
    *old, new = made.head.blocks
    assert new.weight.grad[0].tolist() == pytest.approx(weight, abs=1e-6)
    assert new.bias.grad.tolist() == pytest.approx(bias, abs=1e-6)
    assert [p.grad for block in old for p in block.parameters()] == [None] * 6


@pytest.mark.parametrize(
    ("compat", "expected"), [(False, [4, 5, 6, 6, 2, 3, 3, 2, 1]), (True, [0, 5, 6, 6, 2, 3, 3, 2, 1])]
)
@pytest.mark.parametrize("name", ["ice", "ice-pl"])
def test_evaluation(name: str, compat: bool, expected: list[int]) -> None:
    made = learner(name, compat=compat)
    assert output(made, False).logits.argmax(1).tolist() == expected
    assert not output(made, True).logits[:, 0].any()  # in training 0 in both


def sessions(name: str) -> tuple[Learner, Batch]:
    """Return a learner of the release's two sessions, of 12 and 8 classes, and its four spans.

    Each span stands for a word, and the B and I tags of each type for two of its classes; the labels are O, B of the
    second new type, B of the first one, O.
    """
    card = registry.methods()[name]
    made = method_code.load_class(card)(NoEncoder(), card.settings)
    first, second = tuple("ABCDEF"), tuple("GHIJ")
    for types in (first, second):
        made.grow(types, lambda _: torch.Generator().manual_seed(0))
        made.grown.append(types)
    made.double()
    made.step, made.labelled, made.n_old = 2, second, len(first)
    made.head.freeze_unlabelled(second)
    with torch.no_grad():
        for block, rows in zip(list(made.head.blocks)[1:], (RELEASED["session1"], RELEASED["session2"]), strict=True):
            block.weight.copy_(torch.tensor(rows))
            block.bias.zero_()
    words = torch.tensor(RELEASED["words"], dtype=torch.float64)
    sentence = Sentence(0, tuple("wxyz"), (Mention(1, 2, "H"), Mention(2, 3, "G")))
    return made, Batch((Example(0, sentence, NO_TOKENS, words),))


@pytest.mark.parametrize(("name", "expected"), [("ice", 3.9260946698), ("ice-pl", 5.4372053538)])
def test_the_loss_of_given_spans(name: str, expected: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NoEncoder, "hidden_size", 4)
    made, spans = sessions(name)
    made.train()
    loss = made.losses(spans, made(spans), None)["ce"]
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    loss.backward()
    gradient = made.head.blocks[2].weight.grad
    assert gradient.norm().item() == pytest.approx({"ice": 1.1554127282, "ice-pl": 0.6244938499}[name], abs=1e-6)
    if name == "ice":
        assert torch.allclose(gradient, torch.tensor(RELEASED["gradient"]), rtol=0, atol=1e-6)


def test_the_prediction_of_given_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NoEncoder, "hidden_size", 4)
    made, spans = sessions("ice")
    made.eval()
    logits = made(spans).logits
    assert torch.allclose(logits, torch.tensor(RELEASED["logits"]), rtol=0, atol=1e-6)
    assert logits.argmax(1).tolist() == [19, 12, 15, 11]
