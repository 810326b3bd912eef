"""Fixtures of the methods' tests: float64 and the released gradients for oracles, a tiny encoder for steps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from cl_ner_bench.testing.conformance import inputs


@pytest.fixture
def double() -> Iterator[None]:
    """Compute in float64, as the oracles do."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="session")
def released() -> dict[str, Any]:
    """Return the gradients and prototypes of the released functions on the toy, by method."""
    values: dict[str, Any] = json.loads(Path(__file__).with_name("released.json").read_text())
    return values


@pytest.fixture(scope="session")
def encoder() -> str:
    """Return the folder of a tiny encoder that knows the words of the chains alone, so that no method learns others."""
    return inputs.encoder()
