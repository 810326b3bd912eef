"""A-GEM's projection, by its formula and in training."""

from __future__ import annotations

import pytest
import torch
from cl_ner_bench.methods.a_gem import project

from cl_ner_bench.learning.learner import Learner
from cl_ner_bench.testing.chain import step_data, trainer


def test_projection() -> None:
    gradient = [torch.tensor([1.0, 2.0])]
    project(gradient, [torch.tensor([-1.0, 0.0])])
    assert gradient[0].tolist() == [0.0, 2.0]
    project(gradient, [torch.tensor([1.0, 1.0])])
    assert gradient[0].tolist() == [0.0, 2.0], "they do not point apart"


def test_it_is_one_projection_over_all_parameters() -> None:
    gradient = [torch.tensor([1.0]), torch.tensor([2.0])]
    project(gradient, [torch.tensor([-1.0]), torch.tensor([0.25])])
    assert [g.item() for g in gradient] == pytest.approx([1 - 0.5 / 1.0625, 2 + 0.125 / 1.0625])


@pytest.mark.parametrize("method", ["a-gem-token", "a-gem-span"])
def test_no_gradient_points_against_the_memory_in_training(
    method: str, encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    products: list[tuple[float, float]] = []
    from cl_ner_bench.methods import a_gem

    plain = a_gem.project

    def watched(gradients: list[torch.Tensor], reference: list[torch.Tensor]) -> None:
        product = lambda: sum((g * r).sum().item() for g, r in zip(gradients, reference, strict=True))  # noqa: E731
        before = product()
        plain(gradients, reference)
        products.append((before, product()))

    monkeypatch.setattr(a_gem, "project", watched)
    made = trainer(method, encoder, {"epochs": 2})
    made.learn(step_data(1))
    assert not products, "nothing is remembered in step 1"
    assert isinstance(made.learner, Learner)
    made.learn(step_data(2))
    assert len(products) == 4
    assert all(after >= -1e-3 * abs(before) - 1e-6 for before, after in products)
