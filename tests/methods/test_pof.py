"""POF's statistics, its draws from them, and its losses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cl_ner_bench.methods.pof import tag_statistics

from cl_ner_bench.testing.toy import TOY, batch, learner, student, teacher

pytestmark = pytest.mark.usefixtures("double")


def statistics(tag: int, spread: float = 0.0, deviation: float = 0.0, count: float = 1.0) -> torch.Tensor:
    """Return statistics whose direction is axis ``tag`` and whose mean norm is ``tag``."""
    return torch.cat([torch.eye(6)[tag], torch.tensor([spread, float(tag), deviation, count])])


def test_statistics() -> None:
    words = np.array(TOY["teacher_words"])
    unit = words / np.linalg.norm(words, axis=1, keepdims=True)
    norms = np.linalg.norm(words, axis=1)
    spread = np.sqrt(((unit - unit.mean(0)) ** 2).mean())
    expected = [*unit.mean(0), spread, norms.mean(), norms.std(), 18]
    assert tag_statistics(torch.tensor(words)).tolist() == pytest.approx(expected)


def test_tags_are_drawn_by_their_counts_and_around_their_prototypes() -> None:
    made = learner("pof")
    made.carried["statistics.1"], made.carried["statistics.3"] = (
        statistics(1, count=300),
        statistics(3, spread=0.01, count=100),
    )
    vectors, tags = made.drawn(1.0)
    assert len(tags) == 400
    assert 250 < (tags == 1).sum() < 350
    assert set(tags.tolist()) == {1, 3}
    assert torch.allclose(vectors[tags == 1], torch.eye(6)[1].expand(int((tags == 1).sum()), -1))
    assert torch.allclose(vectors[tags == 3].norm(dim=1), torch.tensor(3.0))
    assert 0.005 < vectors[tags == 3][:, 0].std() / 3 < 0.02


def test_losses() -> None:
    made = learner("pof", replay_weight=2.0, feature_weight=3.0)
    made.carried["statistics.1"], made.carried["statistics.4"] = (
        statistics(1),
        statistics(4, count=1e-9),
    )  # of which nothing is drawn
    found = made.losses(batch(), student(batch()), teacher(batch()))
    of, told = student(batch()), teacher(batch())
    gold = np.array([0, 5, 6, 0, 0, 0, 0, 5, 0])
    old = (gold == 0) & (told.logits.argmax(1).numpy() > 0)
    assert 0 < old.sum() < 6
    log_p = of.logits.log_softmax(1).numpy()
    assert found["ce"].item() == pytest.approx(-log_p[np.arange(9), gold][~old].mean())
    distance = (of.words - told.words).numpy()[old]
    assert found["features"].item() == pytest.approx(3 * (distance**2).mean())
    log_q = made.head(torch.eye(6)[[1]], [1]).log_softmax(1)
    assert found["replay"].item() == pytest.approx(-2 * log_q[0, 1].item())
