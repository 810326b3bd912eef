"""LUCIR's losses and gradients against CFNER's code."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from cl_ner_bench.testing.toy import gradients, learner

pytestmark = pytest.mark.usefixtures("double")


def test_as_released(released: dict[str, Any]) -> None:
    losses, found = gradients(learner("lucir"))
    assert losses == pytest.approx({"ce": 1.0151683975, "features": 11.597520668, "margin": 0.717515167}, abs=1e-6)
    for name, expected in released["lucir"].items():
        assert torch.allclose(found[name], torch.tensor(expected), atol=1e-6), name
