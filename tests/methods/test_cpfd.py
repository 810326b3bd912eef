"""CPFD's thresholds, pseudo-labels, losses and gradients: as released, as in the code base, and with its defect mended.

The released attention term runs over padding, so it is compared for single sentences only.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from cl_ner_bench.learning.learner import Learner, Output
from cl_ner_bench.testing.toy import attentions, batch, learner, losses, rows, teacher, tensor

pytestmark = pytest.mark.usefixtures("double")

WEIGHT = 2 * math.sqrt(4 / 2)
CORPUS = (0, 1, 2, 3)
TAGS = {  # of each sentence; -100: refused
    0: [-100, 5, 6, 1, -100],
    1: [-100, -100, 5, -100],
    2: [5, 6, 3, -100],
    3: [0, -100, 4, 5, 1],
}


def logits_only(made: Learner, positions: tuple[int, ...]) -> tuple[dict[str, float], Tensor]:
    """Return the losses of sentences without attention term, and the gradient of their logits."""
    of, at = batch(*positions), rows(positions)
    maps = attentions("teacher_attention", (0,))
    logits = tensor("student_logits")[at].requires_grad_()
    found = made.losses(of, Output(logits, attentions=maps), Output(tensor("teacher_logits")[at], attentions=maps))
    assert found.pop("attention").item() == 0
    (gradient,) = torch.autograd.grad(torch.stack(list(found.values())).sum(), logits)
    return {name: value.item() for name, value in found.items()}, gradient


@pytest.mark.parametrize("compat", [False, True])
def test_accepts_what_the_release_accepts(compat: bool) -> None:
    made = learner("cpfd", compat=compat)
    for i, expected in TAGS.items():
        assert made.targets(batch(i), teacher(batch(i))).tolist() == expected


def test_entropy(released: dict[str, Any]) -> None:
    """The release divides by the number of old columns, too."""
    expected = torch.tensor(released["cpfd"]["entropy"])
    logits = tensor("teacher_logits")
    assert torch.allclose(learner("cpfd", compat=True).uncertainty(logits), expected, atol=1e-6)
    assert torch.allclose(learner("cpfd").uncertainty(logits), 5 * expected, atol=1e-6)


@pytest.mark.parametrize(("compat", "name"), [(False, "thresholds_normalised"), (True, "thresholds")])
def test_thresholds(compat: bool, name: str, released: dict[str, Any]) -> None:
    """A tag without words accepts nothing: not a number in the release, the floor here."""
    found = learner("cpfd", compat=compat).thresholds.tolist()
    expected = [0.001 if value == "nan" else value for value in released["cpfd"][name]]
    assert found == pytest.approx(expected, abs=1e-6)
    assert "nan" in released["cpfd"][name]


@pytest.mark.parametrize(
    ("case", "positions", "ce", "kl", "unweighted", "half"),
    [
        ("sentence0", (0,), 0.3453489544, 0.446769044, 1.0360472028, 0.5180236014),
        ("sentence1", (1,), 0.0, 0.318466177, 1.5293808336, 0.7646904168),
        ("batch", (0, 1), 0.2590117158, 0.382617611, 1.1593806105, 0.5796903052),
        ("batchB", (2, 3), 0.7623531806, 0.324920242, None, None),
        ("corpus", CORPUS, 0.5793199206, 0.353768926, None, None),
    ],
)
def test_as_released(
    case: str,
    positions: tuple[int, ...],
    ce: float,
    kl: float,
    unweighted: float | None,
    half: float | None,
    released: dict[str, Any],
) -> None:
    found, gradient = logits_only(learner("cpfd", compat=True), positions)
    assert found == pytest.approx({"ce": ce, "kd": WEIGHT * kl}, abs=1e-6)
    assert torch.allclose(gradient, torch.tensor(released["cpfd"][case]), atol=1e-8)
    for factor, expected in ((1.0, unweighted), (0.5, half)):
        if expected is not None:
            weighted, _ = logits_only(learner("cpfd", compat=True, min_factor=factor), positions)
            assert weighted["ce"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("position", "attention"), [(0, 0.001885698), (1, 0.001473506)])
def test_attention(position: int, attention: float) -> None:
    assert losses(learner("cpfd"), position)["attention"] == pytest.approx(WEIGHT * attention, abs=1e-6)


def test_codebase_divides_by_all_words() -> None:
    """1.2021399408 in all, of which the authors' release has 1.0870236227, too: distillation, over padding."""
    found, _ = logits_only(learner("cpfd-codebase"), (0, 1))
    assert found["ce"] == pytest.approx(1.2021399408 - 1.0870236227, abs=1e-6)


def test_new_mentions_count_in_a_sentence_without_an_accepted_word() -> None:
    ce = -tensor("student_logits").log_softmax(1)
    assert logits_only(learner("cpfd"), (1,))[0]["ce"] == pytest.approx(ce[7, 5].item(), abs=1e-9)
    # Of three unlabelled words of sentence 0 one is accepted, as B-X, beside two words of the new type.
    accepted = (1 / (3 + 1e-6)) * (0.5 + 1 / (1 + math.exp(-0.5))) * ce[3, 1]
    expected = (ce[1, 5] + ce[2, 6] + accepted) / 3
    assert logits_only(learner("cpfd"), (0,))[0]["ce"] == pytest.approx(expected.item(), abs=1e-9)
