"""DLD's losses by the parts of DKD (cvlab-yonsei/DKD@fb4693f), and by the code base of arXiv 2312.07887."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from cl_ner_bench.learning.learner import Output, Step
from cl_ner_bench.models.heads.cosine import CosineHead
from cl_ner_bench.testing.toy import EXAMPLES, N_OLD, TYPES, batch, learner, losses, teacher, tensor

pytestmark = pytest.mark.usefixtures("double")

CE, KL = 1.015168398, 0.382617611


def test_parts_by_the_sign_of_the_weight() -> None:
    expected = {"ce": CE, "kd": 2 * KL, "positive": 2 * 0.046000862, "negative": 2 * 0.080448044}
    assert losses(learner("dld")) == pytest.approx(expected, abs=1e-6)


def test_codebase_over_words() -> None:
    expected = {"ce": CE, "kd": 2 * KL, "positive": 2 * 0.004439804, "negative": 2 * 0.010164566}
    assert losses(learner("dld-codebase")) == pytest.approx(expected, abs=1e-6)


def test_parts_of_a_cosine_head_add_up_to_its_logits() -> None:
    made = learner("dld")
    made.head = head = CosineHead(6, scale=1.7)
    for type in TYPES:
        head.grow((type,), lambda _: torch.Generator().manual_seed(0))
    made.begin_step(Step(3, TYPES, ("Z",), (), (), ("Z",), teacher=teacher, examples=EXAMPLES))
    of, words = batch(), tensor("student_words")[:9]
    told = teacher(of)
    assert told.words is not None
    found = made.losses(of, Output(head(words, of.lengths), words), told)
    at = of.tag_targets(TYPES) == 0
    rows = 1.7 * F.normalize(head.weight)[:N_OLD]
    ours, theirs = F.normalize(words[at]), F.normalize(told.words[at])
    for name, part in (("positive", rows.clamp(min=0)), ("negative", rows.clamp(max=0))):
        p, q = (theirs @ part.T).log_softmax(1), (ours @ part.T).log_softmax(1)
        assert found[name].item() == pytest.approx(2 * (p.exp() * (p - q)).sum(1).mean().item()), name
    parts = ours @ rows.clamp(min=0).T + ours @ rows.clamp(max=0).T
    assert torch.allclose(parts, head(words, of.lengths)[at, :N_OLD])
