"""The span twin of confident self-training, by its formula."""

from __future__ import annotations

import math

import pytest
import torch

from cl_ner_bench.corpora.sentence import Mention, Sentence
from cl_ner_bench.learning.batches import Batch, Example
from cl_ner_bench.learning.learner import Output
from cl_ner_bench.testing.chain import chain, step_data, trainer
from cl_ner_bench.testing.toy import NO_TOKENS


def test_old_columns_learn_where_the_teacher_is_sure(encoder: str) -> None:
    made = trainer("selftrain-span", encoder, doubt=0.1, pseudo_weight=2.0).learner
    made.grow(("X",), lambda _: torch.Generator())
    made.grow(("Z",), lambda _: torch.Generator())
    made.n_old, made.labelled = 1, ("Z",)
    batch = Batch((Example(0, Sentence(0, ("a", "b"), (Mention(0, 1, "Z"),)), NO_TOKENS),))
    student = Output(torch.tensor([[1.0, 2.0], [-1.0, 0.0], [0.5, -2.0]]))
    told = Output(torch.tensor([[0.95], [0.5], [0.05]]).logit())
    found = made.losses(batch, student, told)
    new = math.log1p(math.exp(-2)) + math.log(2) + math.log1p(math.exp(-2))
    old = math.log1p(math.exp(-1)) + math.log1p(math.exp(0.5))  # a span, none; of the second it is not sure
    assert found["bce"].item() == pytest.approx(new, abs=1e-6)
    assert found["pseudo"].item() == pytest.approx(2 * old, abs=1e-6)


def test_in_a_chain(encoder: str) -> None:
    made = chain("selftrain-span", encoder, 1)
    assert set(made.learn(step_data(2))["losses"]) == {"bce", "pseudo"}
