"""The cosine head and its imprinting against values of CFNER's code (zzz47zzz/CFNER@3fcb94e, src/model.py)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from cl_ner_bench.learning.batches import Batch
from cl_ner_bench.learning.imprint import imprint
from cl_ner_bench.learning.learner import Learner, Output
from cl_ner_bench.models.heads.cosine import CosineHead
from cl_ner_bench.testing.toy import N_OLD, TYPES, batch, learner, teacher, tensor


@pytest.fixture(autouse=True)
def _double(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Compute in float64, with the teacher's word vectors, on which the values are known."""

    def outputs(_: Learner, batches: Iterable[Batch]) -> Iterator[tuple[Batch, Output]]:
        for of in batches:
            yield of, teacher(of)

    monkeypatch.setattr(Learner, "outputs", outputs)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def head_of(name: str) -> CosineHead:
    """Return a cosine head with the rows of one of the toy's heads; new ones are 0."""
    head = CosineHead(6, scale=1.7)
    for type in TYPES:
        head.grow((type,), lambda _: torch.Generator().manual_seed(0))
    rows = tensor(name)
    head.set_rows({tag: rows[tag] if tag < len(rows) else torch.zeros(6) for tag in range(7)})
    return head


def test_logits() -> None:
    head = head_of("student_head")
    found = head(tensor("student_words")[:9], [5, 4])
    expected = {
        1: [0.168308867, 0.222075061, -0.828426526, 0.403241888, 0.812894805, 1.314640104, 0.051258768],
        8: [0.959165066, 1.150783649, -1.277829601, -0.351342008, 0.193349025, 0.321816396, 0.534059049],
    }
    for word, row in expected.items():
        assert found[word].tolist() == pytest.approx(row, abs=1e-6)


def test_without_a_learned_scale_logits_are_cosines() -> None:
    head = CosineHead(6)
    head.grow(TYPES, lambda _: torch.Generator().manual_seed(0))
    assert head(head.weight, [7]).diagonal().tolist() == pytest.approx([1.0] * 7)
    assert [name for name, _ in head.named_parameters()] == ["blocks.0.weight", "blocks.1.weight"]


IMPRINTED = [
    [-0.8951616927, -0.9704529896, -0.3940105076, -0.3364386756, 0.3006480893, -0.3853594017],
    [-0.0473868181, 1.1282420087, -0.9269793691, 0.2883862753, -0.0446120054, 0.1754898852],
]


def imprinted(*sentences: int) -> Tensor:
    """Return the rows of a head in its third step, whose new rows are imprinted from sentences of the toy."""
    made = learner("finetune-token")
    made.head = head_of("teacher_head")
    imprint(made, [batch(*sentences)])
    rows: Tensor = made.head.weight.detach()
    return rows


def test_imprinted_rows() -> None:
    found = imprinted(0, 1, 2, 3)
    assert torch.allclose(found[N_OLD:], torch.tensor(IMPRINTED), rtol=0, atol=1e-6)
    assert torch.equal(found[:N_OLD], tensor("teacher_head"))


def test_an_inner_tag_without_words_starts_as_its_first() -> None:
    found = imprinted(1, 3)
    assert torch.equal(found[5], found[6])
