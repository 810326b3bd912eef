"""The likelihoods of heads, and the Fisher information of their draws against the sum over all labels there may be."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from cl_ner_bench.methods.addner import AddNER
from torch import Tensor, nn

from cl_ner_bench import method_code, registry
from cl_ner_bench.corpora.sentence import Mention, Sentence
from cl_ner_bench.learning.batches import Batch, Example
from cl_ner_bench.learning.importance import importance
from cl_ner_bench.learning.learner import Learner, Output
from cl_ner_bench.testing.toy import NO_TOKENS, NoEncoder

DRAWS = 500
BATCH = Batch((Example(0, Sentence(0, ("a", "b"), (Mention(0, 1, "Y"),)), NO_TOKENS),))
SOFTMAXES = [  # the columns of each softmax; of spans, whose rows are [0, 1), [0, 2) and [1, 2), beside "no mention"
    ("finetune-token", [[0, 1, 2, 3, 4]]),
    ("addner", [[0, 1, 2], [3, 4, 5]]),
    ("finetune-span", [[0], [1]]),
    ("spankl-softmax", [[0], [1]]),
    ("spankl-softmax", [[0, 1]]),
]


def made(method: str, softmaxes: Sequence[Sequence[int]]) -> Learner:
    """Return a learner of X, then of Y; of both at once where one softmax holds all spans."""
    card = registry.methods()[method]
    learner = method_code.load_class(card)(NoEncoder(), card.settings)  # type: ignore[arg-type]
    for type in ("X", "Y"):
        learner.grow((type,), lambda _: torch.Generator().manual_seed(0))
        learner.grown.append((type,))
    together = learner.architecture == "span" and softmaxes == [[0, 1]]
    learner.labelled, learner.n_old = ("X", "Y") if together else ("Y",), 0 if together else 1
    return learner


class Linear(nn.Module):
    """Logits that depend on one matrix."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inputs = 0.5 + torch.rand(rows, 2)
        self.weight = nn.Parameter(1 + 0.3 * torch.randn(2, columns))  # logits near 2, where softmax and sigmoid differ

    def forward(self, batch: Batch) -> Output:
        return Output(self.inputs @ self.weight)


def log_probabilities(learner: Learner, logits: Tensor, softmaxes: Sequence[Sequence[int]]) -> list[Tensor]:
    """Return the log-probabilities of each row and softmax."""
    none = [logits.new_zeros(len(logits), 1)] if learner.architecture == "span" else []
    parts = (torch.cat([*none, logits[:, list(columns)]], dim=1).log_softmax(1) for columns in softmaxes)
    return [row for part in parts for row in part]


@pytest.mark.parametrize(("method", "softmaxes"), SOFTMAXES)
def test_draws_give_the_fisher_information(method: str, softmaxes: list[list[int]]) -> None:
    learner = made(method, softmaxes)
    model: Any = Linear(2 if learner.architecture == "token" else 3, sum(map(len, softmaxes)))
    exact = torch.zeros_like(model.weight)
    rows = log_probabilities(learner, model(BATCH).logits, softmaxes)
    for labels in itertools.product(*(range(len(row)) for row in rows)):
        log_p = torch.stack([row[label] for row, label in zip(rows, labels, strict=True)]).sum()
        (gradient,) = torch.autograd.grad(log_p, model.weight, retain_graph=True)
        exact += log_p.exp().detach() * gradient.square()
    torch.manual_seed(0)
    found = importance(model, itertools.repeat(BATCH, DRAWS), learner.drawn_log_likelihood)["weight"]
    torch.testing.assert_close(found, exact, rtol=0.1, atol=0.08 * float(exact.max()))


@pytest.mark.parametrize(
    ("method", "softmaxes", "labels"),
    [
        ("finetune-token", [[0, 1, 2, 3, 4]], [[3], [0, 1, 2]]),  # a word without a label is O or of the old type
        ("addner", [[0, 1, 2], [3, 4, 5]], [[0, 1, 2], [0, 1, 2], [1], [0]]),
        ("finetune-span", [[1]], [[1], [0], [0]]),
        ("spankl-softmax", [[1]], [[1], [0], [0]]),
        ("spankl-softmax", [[0, 1]], [[2], [0], [0]]),
    ],
)
def test_the_likelihood_of_given_labels(method: str, softmaxes: list[list[int]], labels: list[list[int]]) -> None:
    learner = made(method, softmaxes)
    logits = Linear(2 if learner.architecture == "token" else 3, learner.n_columns)(BATCH).logits.detach()
    rows = log_probabilities(learner, logits, softmaxes)
    expected = sum(float(row[allowed].logsumexp(0)) for row, allowed in zip(rows, labels, strict=True))
    assert float(learner.log_likelihood(BATCH, Output(logits))) == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_experts_have_the_likelihood_of_their_merged_heads() -> None:
    from cl_ner_bench.methods.experts import ExpertsToken  # imports PEFT, which takes seconds

    assert ExpertsToken.drawn_log_likelihood is AddNER.drawn_log_likelihood
    assert ExpertsToken.log_likelihood is AddNER.log_likelihood
