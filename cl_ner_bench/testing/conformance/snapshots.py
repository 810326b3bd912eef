"""Checkpoints in memory, from which the conformance suite resumes steps."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor


class Stopped(Exception):  # noqa: N818  a stop is no error
    """The end of a learner that is stopped on purpose."""


@dataclass
class Snapshot:
    """A checkpoint in memory: it holds the state after the first epoch of a step."""

    kept: tuple[dict[str, Tensor], dict[str, Any]] | None = None

    def due(self) -> bool:
        return self.kept is None

    def save(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        self.kept = {name: value.detach().clone() for name, value in tensors.items()}, json.loads(json.dumps(facts))

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        return copy.deepcopy(self.kept)  # a step that resumes goes on in what it is given


@dataclass
class StoppingSnapshot(Snapshot):
    """It holds the state after the latest epoch, and stops a step behind one of them."""

    stop_after: int = 0

    def due(self) -> bool:
        return True

    def save(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        super().save(tensors, facts)
        if facts["epoch"] == self.stop_after:
            raise Stopped
