"""RDP's prototypes, pseudo-labels and losses, as intended, as released, and as in the code base of arXiv 2312.07887."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from cl_ner_bench.methods.rdp import scrambled

from cl_ner_bench.learning.batches import Batch
from cl_ner_bench.learning.learner import Learner, Output, Step
from cl_ner_bench.testing.toy import EXAMPLES, TYPES, batch, learner, losses, teacher

pytestmark = pytest.mark.usefixtures("double")

KL = 0.382617611


def in_batches_of(size: int, made: Learner, monkeypatch: pytest.MonkeyPatch) -> Learner:
    """Return the learner after the pass over the corpus in batches of ``size``."""
    monkeypatch.setattr(type(made), "released_batch", size)
    train = tuple(e.sentence for e in EXAMPLES)
    made.begin_step(Step(3, TYPES, ("Z",), train, (), ("Z",), teacher=teacher, examples=EXAMPLES))
    return made


def test_as_intended(released: dict[str, Any]) -> None:
    made = learner("rdp")
    assert torch.allclose(made.prototypes, torch.tensor(released["rdp"]["intended"]), atol=1e-6)
    assert made.targets(batch(), teacher(batch())).tolist() == [0, 5, 6, 1, 1, 3, 3, 5, 1]
    expected = {"ce": 1.168529301, "soft": 0.3 * 0.314615861, "entropy": 0.1 * 0.225325228, "kd": 2 * KL}
    assert losses(made) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("size", "name"), [(4, "one_batch"), (2, "two_batches")])
def test_released_prototypes(size: int, name: str, released: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    made = in_batches_of(size, learner("rdp", compat=True), monkeypatch)
    assert torch.allclose(made.prototypes, torch.tensor(released["rdp"][name]), atol=1e-6)


@pytest.mark.parametrize(
    ("positions", "tags", "ce"),
    [
        ((0, 1), [0, 5, 6, 0, 4, 3, 4, 5, 1], 1.247204412),
        ((0,), [0, 5, 6, 0, 4], 1.2811509584),
        ((1,), [3, 4, 5, 1], 1.2047712294),
    ],
)
def test_released_pseudo_labels(
    positions: tuple[int, ...], tags: list[int], ce: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = in_batches_of(2, learner("rdp", compat=True), monkeypatch)
    of = batch(*positions)
    assert made.targets(of, teacher(of)).tolist() == tags
    found = losses(made, *positions)
    assert found["ce"] == pytest.approx(ce, abs=1e-6)
    if len(positions) == 2:
        assert found["kd"] == pytest.approx(2 * KL, abs=1e-6)


def test_released_means_read_rows_as_columns() -> None:
    words = torch.arange(12.0).reshape(3, 4)
    assert scrambled(words, torch.zeros(3, dtype=torch.long)).tolist() == [[1.0, 4.0, 7.0, 10.0]] * 3


def test_codebase_prototypes(released: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    made = in_batches_of(2, learner("rdp-codebase"), monkeypatch)
    assert torch.allclose(made.prototypes, torch.tensor(released["rdp_codebase"]["prototypes"]), atol=1e-6)


@pytest.mark.parametrize(("name", "size"), [("rdp", 8), ("rdp-codebase", 4)])
def test_released_prototypes_depend_on_the_batches_of_the_release(name: str, size: int) -> None:
    """The authors' batches have 8 sentences, those of the code base 4."""
    train = tuple(replace(EXAMPLES[i % 4].sentence, id=i) for i in range(12))
    examples = [replace(EXAMPLES[i % 4], index=i) for i in range(12)]
    asked = []

    def told(of: Batch) -> Output:
        asked.append(len(of.examples))
        return teacher(Batch(tuple(EXAMPLES[e.index % 4] for e in of.examples)))

    learner(name, compat=True).begin_step(Step(3, TYPES, ("Z",), train, (), ("Z",), teacher=told, examples=examples))
    assert asked == [size] * (12 // size) + [12 % size] * (12 % size > 0)
