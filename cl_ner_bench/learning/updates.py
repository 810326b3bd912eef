"""The number of updates of a step, without torch: a plan prints it before anything is learned."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def count_updates(examples: int, recipe: Mapping[str, Any]) -> tuple[int, int]:
    """Return the updates of a step with so many train sentences, and those among them in which the rates rise.

    The warm-up takes ``warmup_share`` of the updates, and ``warmup_updates`` at most.
    """
    updates = recipe["epochs"] * math.ceil(examples / recipe["batch_size"])
    return updates, min(recipe["warmup_updates"], int(recipe["warmup_share"] * updates))
