"""LUCIR's losses and gradients against CFNER's code."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from cl_ner_bench.corpora.sentence import Mention, Sentence
from cl_ner_bench.learning.batches import Batch, Example
from cl_ner_bench.testing.toy import NO_TOKENS, gradients, learner, student, teacher

pytestmark = pytest.mark.usefixtures("double")


def test_as_released(released: dict[str, Any]) -> None:
    losses, found = gradients(learner("lucir"))
    assert losses == pytest.approx({"ce": 1.0151683975, "features": 11.597520668, "margin": 0.717515167}, abs=1e-6)
    for name, expected in released["lucir"].items():
        assert torch.allclose(found[name], torch.tensor(expected), atol=1e-6), name


def test_labels_of_a_type_that_comes_back_keep_the_margin_too() -> None:
    """In the release the margin holds for all words whose label is O or an old tag, the latter if remembered."""
    sentence = Sentence(0, ("w",) * 5, (Mention(1, 3, "Z"), Mention(3, 4, "X")))
    of = Batch((Example(0, sentence, NO_TOKENS),))
    made = learner("lucir")
    output = student(of)
    found = made.losses(of, output, teacher(of))
    z = output.logits
    margins = [max(0.0, (0.5 - z[word, own] + z[word, 5:].max()).item()) for word, own in ((0, 0), (3, 1), (4, 0))]
    assert found["margin"].item() == pytest.approx(sum(margins) / 3)
