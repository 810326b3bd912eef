"""SpanKL's ablations against definitions written out with numpy, and against SpanKL where they must agree."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from cl_ner_bench import method_code, registry
from cl_ner_bench.corpora.sentence import Mention, Sentence
from cl_ner_bench.learning.batches import Batch, Example
from cl_ner_bench.learning.learner import Output
from cl_ner_bench.models.heads.span import span_count, span_index
from cl_ner_bench.testing.toy import NO_TOKENS, NoEncoder

SENTENCES = (
    Sentence(0, ("a", "b", "c"), (Mention(0, 2, "Z"), Mention(2, 3, "Y"))),
    Sentence(1, ("d", "e"), (Mention(0, 1, "W"), Mention(0, 1, "Z"))),
)
BATCH = Batch(tuple(Example(i, s, NO_TOKENS) for i, s in enumerate(SENTENCES)))
SPANS = sum(span_count(len(s.words)) for s in SENTENCES)


def losses(name: str, old: tuple[str, ...], new: tuple[str, ...]) -> tuple[dict[str, float], Any, Any]:
    """Return the losses of a method, and the logits of student and teacher."""
    card = registry.methods()[name]
    learner = method_code.load_class(card)(NoEncoder(), card.settings)
    for types in (old, new):
        learner.grow(types, lambda _: torch.Generator())
    learner.step, learner.labelled, learner.n_old = 2, new, len(old)
    torch.manual_seed(0)
    ours = torch.randn(SPANS, len(old + new), dtype=torch.float64)
    theirs = torch.randn(SPANS, len(old), dtype=torch.float64)
    found = learner.losses(BATCH, Output(ours), Output(theirs))
    return {key: value.item() for key, value in found.items()}, ours.numpy(), theirs.numpy()


def test_one_label_per_span_is_spankl_where_there_is_one_type() -> None:
    expected, _, _ = losses("spankl", ("X",), ("Z",))
    assert losses("spankl-softmax", ("X",), ("Z",))[0] == pytest.approx(expected, rel=1e-9)


def test_one_label_per_span() -> None:
    found, ours, theirs = losses("spankl-softmax", ("X", "Y"), ("W", "Z"))

    def log_p(logits: Any) -> Any:
        whole = np.concatenate([np.zeros((SPANS, 1)), logits], 1)
        return whole - np.log(np.exp(whole).sum(1, keepdims=True))

    target = np.zeros(SPANS, int)
    target[span_index(0, 2, 3)] = 2
    target[span_count(3) + span_index(0, 1, 2)] = 2  # of W and Z, the later
    assert found["bce"] == pytest.approx(-log_p(ours[:, 2:])[np.arange(SPANS), target].sum() / 2)
    p, q = log_p(theirs), log_p(ours[:, :2])
    assert found["kd"] == pytest.approx((np.exp(p) * (p - q)).sum() / 2)


def test_squared_distance() -> None:
    found, ours, theirs = losses("spankl-mse", ("X", "Y"), ("W", "Z"))
    assert found["bce"] == pytest.approx(losses("spankl", ("X", "Y"), ("W", "Z"))[0]["bce"])
    assert found["kd"] == pytest.approx(((ours[:, :2] - theirs) ** 2).sum() / 2 / 2)


def test_remembered_sentences_are_learned_with_the_methods_own_loss_of_labels() -> None:
    for name in ("spankl", "spankl-softmax"):
        card = registry.methods()[name]
        learner: Any = method_code.load_class(card)(NoEncoder(), card.settings)
        learner.grow(("W", "Y", "Z"), lambda _: torch.Generator())
        logits = torch.randn(SPANS, 3, dtype=torch.float64)
        remembered = Batch(tuple(replace(e, labelled=("W", "Z")) for e in BATCH.examples))
        expected = learner.bce(BATCH, Output(logits), ("W", "Z"))
        assert learner.open_loss(remembered, Output(logits)).item() == pytest.approx(expected.item()), name
