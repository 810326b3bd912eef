"""PODNet's losses and gradients, as the paper means them and as CFNER's code computes them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from cl_ner_bench.testing.toy import gradients, learner

pytestmark = pytest.mark.usefixtures("double")


def test_as_intended(released: dict[str, Any]) -> None:
    losses, found = gradients(learner("podnet"))
    assert losses == pytest.approx({"nca": 1.109567977, "flat": 0.231950413, "spatial": 0.263502653}, abs=1e-6)
    assert torch.allclose(found["layers"], torch.tensor(released["podnet"]["layers_intended"]), atol=1e-8)


@pytest.mark.parametrize("margin", [0.6, 0.0])  # it cancels
def test_as_released(margin: float, released: dict[str, Any]) -> None:
    losses, found = gradients(learner("podnet", compat=True, margin=margin))
    assert losses == pytest.approx({"nca": 1.0340778482, "flat": 0.231950413, "spatial": 0.263502653}, abs=1e-6)
    for name in ("logits", "words"):
        assert torch.allclose(found[name], torch.tensor(released["podnet"][name]), atol=1e-8), name
    assert not found["layers"].any()
