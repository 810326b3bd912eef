"""Self-training's targets, loss and gradients against the code base of arXiv 2312.07887."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from cl_ner_bench.corpora.sentence import Sentence
from cl_ner_bench.learning.batches import Batch, Example
from cl_ner_bench.testing.toy import NO_TOKENS, TYPES, batch, gradients, learner, losses, student, teacher

pytestmark = pytest.mark.usefixtures("double")


def test_as_in_the_codebase(released: dict[str, Any]) -> None:
    made = learner("selftrain")
    assert made.targets(batch(), teacher(batch())).tolist() == [0, 5, 6, 1, 1, 3, 3, 5, 1]
    losses, found = gradients(made)
    assert losses == pytest.approx({"ce": 1.1685293011}, abs=1e-6)
    for name, expected in released["selftrain"].items():
        assert torch.allclose(found[name], torch.tensor(expected), atol=1e-8), name


def test_confident_selftraining_ignores_the_rest() -> None:
    confidence = teacher(batch()).logits.softmax(1).amax(1)
    targets = learner("selftrain-confident", confidence=0.45).targets(batch(), teacher(batch()))
    ignored = (targets == -100).tolist()
    gold = batch().tag_targets(TYPES).tolist()
    assert ignored == [tag == 0 and p < 0.45 for tag, p in zip(gold, confidence.tolist(), strict=True)]
    assert any(ignored)
    assert not all(ignored)


def test_confident_selftraining_is_a_mean_over_words_that_count() -> None:
    made = learner("selftrain-confident", confidence=0.45)
    targets = made.targets(batch(), teacher(batch()))
    kept = targets != -100
    expected = F.cross_entropy(student(batch()).logits[kept], targets[kept]).item()
    assert losses(made) == pytest.approx({"ce": expected})


def test_confident_selftraining_of_no_word_that_counts_is_zero() -> None:
    of = Batch((Example(0, Sentence(0, ("w",) * 5), NO_TOKENS),))
    output = student(of)
    output.logits.requires_grad_()
    loss = learner("selftrain-confident", confidence=1.0).losses(of, output, teacher(of))["ce"]
    loss.backward()
    assert loss.item() == 0
    assert output.logits.grad is not None
    assert not output.logits.grad.any()
