"""The number of updates of a step. The module needs no torch, because a plan prints it before anything is learned."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def count_updates(examples: int, recipe: Mapping[str, Any]) -> tuple[int, int]:
    """Return the number of updates of a step with ``examples`` train sentences, and the number of warm-up updates.

    The warm-up takes ``warmup_share`` of the updates, but at most ``warmup_updates``.
    """
    updates = recipe["epochs"] * math.ceil(examples / recipe["batch_size"])
    return updates, min(recipe["warmup_updates"], int(recipe["warmup_share"] * updates))
