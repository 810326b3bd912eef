"""FSL by its formulas, recomputed word by word with numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cl_ner_bench.learning.learner import Learner, Step
from cl_ner_bench.testing.toy import EXAMPLES, N_OLD, TOY, TYPES, batch, learner, losses, student, teacher

pytestmark = pytest.mark.usefixtures("double")

TAGS = [tag for tags in TOY["corpus_tags"] for tag in tags]


def again(made: Learner) -> Learner:
    """Return the learner after the pass over the corpus."""
    train = tuple(e.sentence for e in EXAMPLES)
    made.begin_step(Step(3, TYPES, ("Z",), train, (), ("Z",), teacher=teacher, examples=EXAMPLES))
    return made


@pytest.mark.parametrize("neighbours", [1, 2, 100])
def test_prototypes_are_means_of_the_nearest_words(neighbours: int) -> None:
    words, logits = np.array(TOY["teacher_words"]), np.array(TOY["teacher_logits"])
    expected = np.zeros((N_OLD, words.shape[1]))
    for tag in range(N_OLD):
        own = words[[k for k, gold in enumerate(TAGS) if gold == 0 and logits[k].argmax() == tag]]
        if len(own):
            nearest = np.argsort(np.linalg.norm(own - own.mean(0), axis=1))[:neighbours]
            expected[tag] = own[nearest].mean(0)
    assert np.allclose(again(learner("fsl", neighbours=neighbours)).prototypes.numpy(), expected)


def test_with_all_neighbours_pseudo_labels_are_rdps() -> None:
    targets = learner("fsl").targets(batch(), teacher(batch()))
    assert targets.tolist() == learner("rdp").targets(batch(), teacher(batch())).tolist()


def test_losses() -> None:
    made = learner("fsl")
    found, of_rdp = losses(made), losses(learner("rdp"))
    assert found.keys() == {"ce", "kd", "relation"}
    assert found["ce"] == pytest.approx(of_rdp["ce"])
    assert found["kd"] == pytest.approx(of_rdp["kd"])
    targets, gold = made.targets(batch(), teacher(batch())).tolist(), TAGS[:9]
    p = student(batch()).logits.softmax(1).numpy()
    divergences = []
    for tag in sorted(set(targets)):
        at = [k for k, target in enumerate(targets) if target == tag]
        soft = []
        for k in at:
            new = [float(gold[k] == column) for column in (5, 6)]
            values = np.exp(np.array([*(1 / (1 + np.exp(-np.array(TOY["teacher_logits"][k])))), *new]))
            soft.append(values / values.sum())
        ours, theirs = p[at].mean(0), np.mean(soft, axis=0)
        divergences.append((ours * np.log(ours / theirs)).sum())
    assert found["relation"] == pytest.approx(0.5 * np.mean(divergences), abs=1e-9)
    assert torch.is_tensor(made.prototypes)
