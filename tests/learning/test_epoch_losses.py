"""Losses are read from the device now and then; one that is not finite is named."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from cl_ner_bench.learning.epoch_losses import READ_EVERY, EpochLosses

CPU, OTHER = torch.device("cpu"), torch.device("meta")


def losses(update: int) -> dict[str, Tensor]:
    return {"ce": torch.tensor(0.1 * update), "kl": torch.tensor(1.0 / update)}


def test_all_are_read_on_whichever_device_and_sum_to_the_same() -> None:
    here, there = EpochLosses(CPU, 1, 0), EpochLosses(OTHER, 1, 0)
    read = [(here.add(losses(update)), there.add(losses(update))) for update in range(1, 2 * READ_EVERY)]
    assert [on_cpu for on_cpu, _ in read] == [True] * len(read)
    assert [i for i, (_, elsewhere) in enumerate(read) if elsewhere] == [0, READ_EVERY]
    assert there.sums != here.sums
    there.read()
    assert (there.sums, there.total) == (here.sums, here.total)
    assert here.total == sum(value.item() for value in losses(2 * READ_EVERY - 1).values())


def learn(found: EpochLosses, values: list[float]) -> None:
    for value in values:
        found.add({"ce": torch.tensor(value)})
    found.read()


@pytest.mark.parametrize("device", [CPU, OTHER])
def test_the_update_whose_loss_is_not_finite_is_named(device: torch.device) -> None:
    with pytest.raises(FloatingPointError, match=r"^loss is nan in step 3, update 42: \{'ce': nan\}$"):
        learn(EpochLosses(device, 3, 40), [1.0, math.nan, 1.0])
