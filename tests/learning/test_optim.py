"""Optimisers without torch's class: the same updates, and without torch's compiler."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from cl_ner_bench.learning.optim import SGD, AdamW


def groups(model: nn.Module) -> list[dict[str, Any]]:
    first, second, third = model.children()
    return [
        {"params": first.parameters(), "lr": 1e-2, "weight_decay": 0.0},
        {"params": second.parameters(), "lr": 1e-3, "eps": 1e-4},
        {"params": third.parameters(), "lr": 1e-3, "betas": (0.8, 0.9)},
        {"params": [], "lr": 1.0},
    ]


@pytest.mark.slow  # torch's own optimisers import its compiler
def test_updates_are_those_of_torch() -> None:
    torch.manual_seed(0)
    ours, theirs = (nn.Sequential(nn.Linear(7, 5), nn.Linear(5, 5), nn.Linear(5, 3)) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    reference = torch.optim.AdamW(groups(theirs), fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(reference, lambda n: 1 / (1 + n))
    optimizer = AdamW(groups(ours))
    for n in range(6):
        inputs = torch.randn(4, 7)
        for model in (ours, theirs):
            model.zero_grad()
            # The last layer has no gradient at first, and none again in between.
            (model(inputs) if n in (2, 3, 5) else model[:2](inputs)).square().sum().backward()
        optimizer.step(1 / (1 + n))
        reference.step()
        schedule.step()
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert torch.equal(a, b)


@pytest.mark.slow
def test_sgd_is_that_of_torch() -> None:
    torch.manual_seed(0)
    ours, theirs = (nn.Sequential(nn.Linear(7, 5), nn.Linear(5, 3)) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    optimizer = SGD([{"params": ours.parameters(), "lr": 0.1, "weight_decay": 5e-4}])
    reference = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    for _ in range(5):
        inputs = torch.randn(4, 7)
        for model in (ours, theirs):
            model.zero_grad()
            model(inputs).square().sum().backward()
        optimizer.step(0.5)
        for group in reference.param_groups:
            group["lr"] = 0.05
        reference.step()
    assert optimizer.updated == set(ours.parameters())
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


def test_an_optimiser_goes_on_with_the_state_of_another() -> None:
    def model() -> nn.Sequential:
        layers = nn.Sequential(nn.Linear(7, 5), nn.Linear(5, 5), nn.Linear(5, 3))
        layers[0].weight = nn.Parameter(layers[0].weight.detach().T.contiguous().T)  # not laid out row by row
        return layers

    def update(model: nn.Module, optimizer: AdamW, n: int) -> None:
        model.zero_grad()
        inputs = torch.randn(4, 7, generator=torch.Generator().manual_seed(n))
        (model(inputs) if n > 2 else model[:2](inputs)).square().sum().backward()
        optimizer.step(1 / (1 + n))

    whole, other = model(), model()
    first, second = AdamW(groups(whole)), AdamW(groups(other))
    for n in range(5):
        if n == 2:  # the last layer has had no gradient yet
            other.load_state_dict(whole.state_dict())
            second.state = {name: value.contiguous().clone() for name, value in first.state.items()}
            assert len(second.state) == 3 * 4
        update(whole, first, n)
        if n >= 2:
            update(other, second, n)
    for a, b in zip(whole.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("group", [{"lr": 1.0}, {"params": []}, {"params": [], "lr": 1.0, "learning_rate": 2.0}])
def test_a_group_that_says_something_else_is_refused(group: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        AdamW([group])


@pytest.mark.slow
def test_an_update_imports_no_compiler() -> None:
    code = (
        "import sys, torch\nfrom cl_ner_bench.learning.optim import AdamW\n"
        "model = torch.nn.Linear(2, 2)\noptimizer = AdamW([{'params': model.parameters(), 'lr': 1.0}])\n"
        "model(torch.ones(1, 2)).sum().backward()\noptimizer.step()\nsys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0
