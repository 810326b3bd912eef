"""Random streams keyed by what is computed, never by when it is computed.

Two methods of one architecture that learn the same types in the same step from the same start draw the same
numbers, in whatever order a grid trains them.
"""

from __future__ import annotations

import hashlib
import json

import torch


def stream(seed: int, *key: object) -> int:
    """Return a 63-bit seed for the stream named by ``key`` (JSON-able values)."""
    text = json.dumps([seed, *key], ensure_ascii=False)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *key: object) -> torch.Generator:
    """Return a CPU generator at the start of the stream named by ``key``."""
    return torch.Generator().manual_seed(stream(seed, *key))
