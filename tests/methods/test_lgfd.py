"""LGFD by its formulas, recomputed with numpy; its pseudo-labels are CPFD's."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cl_ner_bench.testing.toy import TOY, batch, learner, losses, teacher

pytestmark = pytest.mark.usefixtures("double")

WEIGHT = 2 * math.sqrt(4 / 2)
TARGETS = [-100, 5, 6, 1, -100, -100, -100, 5, -100]
OPEN = [0, 3, 4, 5, 6, 8]  # words without a label


def unit(values: np.ndarray) -> np.ndarray:
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def test_pseudo_labels_are_cpfds() -> None:
    assert learner("lgfd").targets(batch(), teacher(batch())).tolist() == TARGETS


def test_losses() -> None:
    found = losses(learner("lgfd"))
    assert found["kd"] == pytest.approx(WEIGHT * 0.382617611, abs=1e-6)
    ours, theirs = np.array(TOY["student_layers"])[:, OPEN], np.array(TOY["teacher_layers"])[:, OPEN]
    assert found["layers"] == pytest.approx(WEIGHT * np.mean((ours - theirs) ** 2), abs=1e-9)

    means = {}
    for name in ("student_words", "teacher_words"):
        vectors = unit(np.array(TOY[name])[:9])
        means[name] = [unit(vectors[[k for k, t in enumerate(TARGETS) if t == tag]].mean(0)) for tag in (1, 5, 6)]
    terms = []
    for c, mine in enumerate(means["student_words"]):
        others = [m for k, m in enumerate(means["student_words"]) if k != c] + means["teacher_words"]
        shares = np.exp(np.array([mine @ other for other in others]) / 0.07)
        terms.append(-math.log(np.exp(mine @ means["teacher_words"][c] / 0.07) / shares.sum()))
    assert found["contrast"] == pytest.approx(WEIGHT * 0.01 * np.mean(terms), abs=1e-9)


def test_accepted_words_have_no_type_weight() -> None:
    log_p = np.log(np.exp(np.array(TOY["student_logits"])[:9]))
    log_p -= np.log(np.exp(log_p).sum(1, keepdims=True))
    factor = 1 / (3 + 1e-6)  # one of three unlabelled words of the first sentence is accepted
    expected = -(log_p[1, 5] + log_p[2, 6] + factor * log_p[3, 1] + log_p[7, 5]) / 4
    assert losses(learner("lgfd"))["ce"] == pytest.approx(expected, abs=1e-9)
