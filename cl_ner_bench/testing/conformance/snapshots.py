"""Checkpoints in memory, from which the conformance suite resumes steps."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor


class Stopped(Exception):  # noqa: N818  a stop is no error
    """A deliberate stop of a step."""


@dataclass
class Snapshot:
    """A checkpoint in memory with the state after the first epoch of a step."""

    kept: tuple[dict[str, Tensor], dict[str, Any]] | None = None

    def due(self) -> bool:
        return self.kept is None

    def save(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        self.kept = {name: value.detach().clone() for name, value in tensors.items()}, json.loads(json.dumps(facts))

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        return copy.deepcopy(self.kept)  # a resumed step changes the tensors that it is given


@dataclass
class StoppingSnapshot(Snapshot):
    """A snapshot with the state after the latest epoch. It stops a step after epoch ``stop_after``."""

    stop_after: int = 0

    def due(self) -> bool:
        return True

    def save(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        super().save(tensors, facts)
        if facts["epoch"] == self.stop_after:
            raise Stopped
