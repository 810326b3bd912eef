"""IS3's losses, gradients and prototypes against the code base of arXiv 2312.07887."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from cl_ner_bench.corpora.sentence import Mention, Sentence
from cl_ner_bench.learning.batches import Batch, Example
from cl_ner_bench.learning.learner import Learner, Output, Step
from cl_ner_bench.models.heads.cosine import CosineHead
from cl_ner_bench.testing.toy import NO_TOKENS, TOY, TYPES, batch, gradients, learner, teacher, tensor

pytestmark = pytest.mark.usefixtures("double")

CE, KL, PROTOTYPES = 1.015168398, 0.382617611, 1.629874542


def with_prototypes(**settings: Any) -> Learner:
    made = learner("is3", **settings)
    for tag, values in TOY["is3_prototypes"].items():
        made.carried[f"prototype.{tag}"] = torch.tensor(values)
    return made


def test_as_released(released: dict[str, Any]) -> None:
    losses, found = gradients(with_prototypes())
    assert losses == pytest.approx({"ce": CE, "kd": 2 * KL, "prototypes": 0.1 * PROTOTYPES}, abs=1e-6)
    for name in ("words", "weight", "bias"):
        assert torch.allclose(found[name], torch.tensor(released["is3"][name]), atol=1e-8), name


def test_only_weights_of_old_rows_are_damped(released: dict[str, Any]) -> None:
    _, found = gradients(with_prototypes(kd_weight=0.0, prototype_weight=0.0))
    scale = torch.tensor([1, 0.6, 0.6, 0.6, 0.6, 1, 1])[:, None]
    assert torch.allclose(found["weight"], scale * torch.tensor(released["is3"]["ce_weight"]), atol=1e-8)


def test_a_cosine_head_learns_by_its_own_logits() -> None:
    made = learner("is3", kd_weight=0.0)
    made.head = CosineHead(6, scale=1.7)
    for type in TYPES:
        made.head.grow((type,), lambda _: torch.Generator().manual_seed(0))
    made.carried["prototype.1"] = torch.tensor(TOY["is3_prototypes"]["1"])
    of, words = batch(), tensor("student_words")[:9]
    logits = made.head(words, of.lengths)
    losses = made.losses(of, Output(logits, words), teacher(of))
    new = of.tag_targets(TYPES) > 0
    expected = torch.nn.functional.cross_entropy(logits[new], of.tag_targets(TYPES)[new])
    assert losses["ce"].item() == pytest.approx(expected.item())
    of_prototype = made.head(made.carried["prototype.1"][None], [1]).log_softmax(1)[0, 1]
    assert losses["prototypes"].item() == pytest.approx(-0.1 * of_prototype.item())
    rows = [block.weight for block in made.head.blocks]
    plain = torch.autograd.grad(expected, rows, retain_graph=True)
    found = torch.autograd.grad(losses["ce"], rows)
    for row, wanted, share in zip(found, plain, (1, 0.6, 0.6, 1), strict=True):
        assert torch.allclose(row, share * wanted)


def test_a_batch_without_new_words(released: dict[str, Any]) -> None:
    made = with_prototypes()
    of = Batch(tuple(Example(e.index, Sentence(e.index, e.sentence.words), NO_TOKENS) for e in batch().examples))
    words = tensor("student_words").requires_grad_()
    found = made.losses(of, Output(made.head(words, of.lengths), words), teacher(of))
    assert {name: value.item() for name, value in found.items()} == pytest.approx({"kd": 0.931475118}, abs=1e-6)
    found["kd"].backward()
    expected = released["is3"]["without_new"]
    assert words.grad is not None
    assert torch.allclose(words.grad, torch.tensor(expected["words"]), atol=1e-8)
    for name in ("weight", "bias"):
        gradient = torch.cat([getattr(block, name).grad for block in made.head.blocks])
        assert torch.allclose(gradient, torch.tensor(expected[name]), atol=1e-8), name


def test_prototypes_are_means_of_unit_vectors_of_the_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the toy's corpus with the labels that the oracle's corpus has: X in sentence 0, Y in sentence 1, and Z."""
    made = learner("is3")
    mentions = [
        (Mention(1, 3, "Z"), Mention(3, 5, "X")),
        (Mention(0, 1, "Y"), Mention(2, 3, "Z")),
        (Mention(0, 2, "Z"),),
        (Mention(3, 4, "Z"),),
    ]
    lengths = (5, 4, 4, 5)
    sentences = [Sentence(i, ("w",) * n, found) for i, (n, found) in enumerate(zip(lengths, mentions, strict=True))]
    of = Batch(tuple(Example(s.id, s, NO_TOKENS) for s in sentences))
    words = tensor("teacher_words")  # the vectors of the oracle's corpus
    monkeypatch.setattr(made, "outputs", lambda _: [(of, Output(words @ made.head.weight.T, words))])
    kept = torch.ones(6)
    made.carried["prototype.5"] = kept
    made.end_step(Step(3, TYPES, ("Z",), tuple(sentences), (), ("Z",), examples=of.examples))
    for tag, expected in TOY["is3_prototypes"].items():
        assert made.carried[f"prototype.{tag}"].tolist() == pytest.approx(expected, abs=1e-6)
    assert torch.equal(made.carried["prototype.5"], kept)
