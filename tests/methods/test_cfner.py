"""CFNER against values of its authors' functions (zzz47zzz/CFNER@3fcb94e, src/trainer.py and src/utils.py)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from cl_ner_bench.methods import cfner
from torch import Tensor

from cl_ner_bench.learning.batches import Batch
from cl_ner_bench.learning.learner import Learner, Output
from cl_ner_bench.testing.toy import BATCH_WORDS, batch, learner, losses, rows, teacher, tensor

pytestmark = pytest.mark.usefixtures("double")

LABELLED, OLD = (1, 2, 7, 9, 10, 16), (3, 4, 5, 6, 8, 11, 12, 14, 15, 17)
"""Of the 18 words of the toy: those of the new type, and those that the teacher gives an old tag."""

NEAR = {
    3: (
        [[2, 5, 3], [4, 5, 0], [0, 5, 3], [0, 2, 5], [1, 5, 3], [0, 2, 4]],
        [
            *([7, 8, 9], [3, 0, 7], [6, 7, 5], [7, 0, 1], [9, 0, 8]),
            *([2, 6, 7], [7, 8, 2], [8, 6, 0], [7, 6, 0], [0, 4, 7]),
        ],
    ),
    2: (
        [[2, 5], [4, 5], [0, 5], [0, 2], [1, 5], [0, 2]],
        [[7, 8], [3, 0], [6, 7], [7, 0], [9, 0], [2, 6], [7, 8], [8, 6], [7, 6], [0, 4]],
    ),
}


def made(**settings: Any) -> Learner:
    """Return the method; its student predicts the neighbours by the toy's word vectors and head."""
    method = learner("cfner", **settings)

    def outputs(batches: Iterable[Batch]) -> Iterator[tuple[Batch, Output]]:
        for of in batches:
            words = tensor("corpus_student_words")[rows(tuple(e.index for e in of.examples))]
            yield of, Output(words @ tensor("student_head").T, words)

    method.outputs = outputs  # type: ignore[method-assign]
    return method


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("compat", [False, True])
def test_neighbours(k: int, compat: bool) -> None:
    found: Tensor = made(neighbours=k, compat=compat).near  # type: ignore[assignment]
    for words, expected in zip((LABELLED, OLD), NEAR[k], strict=True):
        assert found[list(words)].tolist() == [[words[i] for i in near] for near in expected]
    assert (found >= 0).any(1).nonzero()[:, 0].tolist() == sorted(LABELLED + OLD)


@pytest.mark.parametrize(("k", "ce", "kd"), [(3, 1.1582546558, 1.1660759241), (2, 1.0272897184, 1.1915342974)])
def test_losses(k: int, ce: float, kd: float) -> None:
    weight = 2 * math.sqrt((5 - 1) / (7 - 5))
    assert losses(made(neighbours=k)) == pytest.approx({"ce": ce, "kd": weight * kd}, abs=1e-6)


def test_the_code_base_keeps_its_weight() -> None:
    assert losses(made(weight_grows=False))["kd"] == pytest.approx(2 * 1.1660759241, abs=1e-6)


def test_the_code_base_too_compares_with_the_first_words_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cfner, "RELEASED_CANDIDATES", 4)
    released, found, of_all = (
        made.near for made in (learner("cfner", compat=True), learner("cfner-codebase"), learner("cfner"))
    )
    assert torch.equal(found, released)
    assert not torch.equal(found, of_all)


def test_the_gradient_passes_through_own_predictions_only() -> None:
    method, of = made(), batch()
    logits = tensor("student_logits")[:BATCH_WORDS].requires_grad_()
    torch.stack(list(method.losses(of, Output(logits), teacher(of)).values())).sum().backward()
    assert logits.grad is not None
    expected = {  # rows of an O word without, a word with a new label, and an O word with an old tag
        0: [0.0433672287, -0.1183748295, 0.0030801637, 0.0234887732, 0.0018600936, 0.0233189673, 0.023259603],
        1: [0.0123928932, 0.014516431, 0.0020019189, 0.0196263133, 0.0514892054, -0.1097642401, 0.0097374783],
        4: [0.0128054412, -0.1368922363, 0.0581454816, 0.0246213062, 0.0137374018, 0.0063568958, 0.0212257098],
    }
    for word, row in expected.items():
        assert logits.grad[word].tolist() == pytest.approx(row, abs=1e-6)


VECTORS = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.6, 0.8]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("vectors", "k", "limit", "expected"),
    [
        (VECTORS, 2, None, [[1, 3], [0, 3], [3, 1], [2, 1]]),
        (VECTORS, 2, 4, [[1, 3], [0, 3], [3, 1], [2, 1]]),  # no more than the limit: an exact search
        (VECTORS, 2, 3, [[2, 0], [2, 0], [0, 1], [2, 0]]),
        (VECTORS[1:], 3, None, [[2, 1, 0], [2, 0, 1], [1, 0, 2]]),  # the word itself comes last
    ],
)
def test_search(vectors: Tensor, k: int, limit: int | None, expected: list[list[int]]) -> None:
    found = cfner.nearest(vectors, k, limit)
    assert torch.equal(vectors[found], vectors[torch.tensor(expected)])  # words 0 and 1 are equal


def test_search_of_fewer_words_than_neighbours_and_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cfner.nearest(VECTORS[:1], 3).tolist() == [[0, 0, 0]]
    assert cfner.nearest(VECTORS[:0], 3).shape == (0, 3)
    vectors = F.normalize(torch.randn(50, 6, generator=torch.Generator().manual_seed(0)))
    expected = torch.cdist(vectors, vectors).fill_diagonal_(9).argsort(1)[:, :3]
    monkeypatch.setattr(cfner, "_CHUNK", 7)
    assert torch.equal(cfner.nearest(vectors, 3), expected)
