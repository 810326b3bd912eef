"""LwF by its definition, for a student (1, 0, 2, -1) and a teacher (.5, 1.5) with two old columns."""

from __future__ import annotations

import pytest
import torch

from cl_ner_bench.learning.learner import Output
from cl_ner_bench.testing.toy import learner

pytestmark = pytest.mark.usefixtures("double")


@pytest.mark.parametrize(("temperature", "kd"), [(2.0, 0.489837), (1.0, 0.462117)])
def test_losses(temperature: float, kd: float) -> None:
    of = type("Toy", (), {"tag_targets": lambda *_: torch.tensor([0])})
    student, teacher = Output(torch.tensor([[1.0, 0.0, 2.0, -1.0]])), Output(torch.tensor([[0.5, 1.5]]))
    found = learner("lwf", temperature=temperature).losses(of(), student, teacher)
    assert {name: value.item() for name, value in found.items()} == pytest.approx({"ce": 1.440190, "kd": kd}, abs=1e-6)
