"""ExtendNER's losses, gradients and decoding against three releases, and fine-tuning's loss against CFNER's code."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from cl_ner_bench.corpora.sentence import Mention
from cl_ner_bench.learning.batches import Batch
from cl_ner_bench.learning.learner import Output
from cl_ner_bench.models.losses import categorical_kl
from cl_ner_bench.testing.toy import EXAMPLES, TYPES, batch, gradients, learner, student

pytestmark = pytest.mark.usefixtures("double")

CE = 1.0151683975  # mean over the words of the new type
KL = 0.3826176107  # mean over the others, temperature 1


@pytest.mark.parametrize(
    ("name", "kd", "run"),
    [
        ("extendner", KL, "T1_1"),
        ("extendner-cfner", 0.3822990861, "T2_1"),
        ("selftrain-cfner", 1.4486135056, "T2_0.01"),
    ],
)
def test_as_in_cfner(name: str, kd: float, run: str, released: dict[str, Any]) -> None:
    losses, found = gradients(learner(name))
    assert losses == pytest.approx({"ce": CE, "kd": kd}, abs=1e-6)
    assert torch.allclose(found["logits"], torch.tensor(released["extendner_cfner"][run]["logits"]), atol=1e-8)


def test_as_in_spankl(released: dict[str, Any]) -> None:
    losses, found = gradients(learner("extendner"))
    assert sum(losses.values()) == pytest.approx(1.3977860082, abs=1e-6)
    assert torch.allclose(found["logits"], torch.tensor(released["extendner_spankl"]["logits"]), atol=1e-8)


def test_as_in_the_codebase(released: dict[str, Any]) -> None:
    losses, found = gradients(learner("extendner-codebase"))
    assert losses == pytest.approx({"ce": CE, "kd": 2 * KL}, abs=1e-6)
    for name, expected in released["extendner_codebase"].items():
        assert torch.allclose(found[name], torch.tensor(expected), atol=1e-8), name


def test_finetune_as_in_cfner(released: dict[str, Any]) -> None:
    losses, found = gradients(learner("finetune-token"))
    assert losses == pytest.approx({"ce": 1.6320177455}, abs=1e-6)
    assert torch.allclose(found["logits"], torch.tensor(released["finetune_cfner"]["logits"]), atol=1e-8)


def test_joint_as_in_spankl() -> None:
    old = {0: Mention(3, 4, "X"), 1: Mention(0, 1, "Y")}
    sentences = [replace(e.sentence, mentions=(*e.sentence.mentions, old[e.index])) for e in EXAMPLES[:2]]
    of = Batch(tuple(replace(e, sentence=s) for e, s in zip(EXAMPLES, sentences, strict=False)))
    assert of.tag_targets(TYPES).tolist() == [0, 5, 6, 1, 0, 3, 0, 5, 0]
    losses = learner("joint-token").losses(of, student(batch()), None)
    assert losses["ce"].item() == pytest.approx(1.2609026344, abs=1e-6)


def test_decoding_is_the_best_legal_sequence() -> None:
    """The path that SpanKL's decoder was meant to find; as released it takes each word's most probable tag."""
    logits = torch.tensor(
        [
            [1.237, -0.2, 0.211, -1.188, 0.597, -0.93, -2.338],
            [0.2, 0.1, -0.5, -0.3, 0.0, 0.1, 1.4],
            [0.692, 2.276, -0.348, 0.067, -1.041, 2.378, -0.169],
            [-1.0, 0.2, 1.5, 0.3, 1.2, -0.4, 0.1],
            [-0.198, 1.402, -1.459, 1.682, 1.827, -0.923, 0.829],
            [-0.117, 1.059, 0.05, -1.08, 0.754, -0.262, 0.215],
        ]
    )
    (found,) = learner("extendner").decode(Output(logits), [6], TYPES, False)
    assert [(p.start, p.end, p.type) for p in found] == [(2, 4, "X"), (4, 5, "Y"), (5, 6, "X")]
    outside = logits[:2].log_softmax(1)[:, 0].sum().item()
    assert outside + sum(math.log(p.score) for p in found) == pytest.approx(-7.385502412, abs=1e-6)


def test_distillation_cuts_the_full_softmax() -> None:
    """By definition, for a student (1, 0, 2, -1) and a teacher (.5, 1.5)."""
    kl = categorical_kl(torch.tensor([[0.5, 1.5]]), torch.tensor([[1.0, 0.0, 2.0, -1.0]]))
    assert kl.item() == pytest.approx(1.589045, abs=1e-6)
