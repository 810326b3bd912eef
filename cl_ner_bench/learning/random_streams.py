"""Random streams keyed by what is computed, never by when it is computed.

If two methods of one architecture learn the same types in the same step from the same start, they draw the same
numbers. The order in which a grid trains them does not matter.
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


def seed_global(seed: int, device: torch.device) -> None:
    """Restart torch's global streams of the CPU and of ``device``.

    On a CPU, the streams of other devices are left alone: to keep a seed for a device that is not in use, torch formats
    a stack trace, which takes longer than everything else here.
    """
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)
