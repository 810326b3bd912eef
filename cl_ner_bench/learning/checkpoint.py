"""The state from which a stopped step resumes, and the protocol of its storage."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from cl_ner_bench.learning.learner import Learner
from cl_ner_bench.learning.optim import Optimizer

SCHEMA = 4
"""The version of the snapshot. Raise it with every change: snapshots of other versions are discarded."""


class Checkpoint(Protocol):
    """Storage for the latest snapshot of a step; it decides where and how often to save."""

    def due(self) -> bool:
        """Return True if it is time to save. Asked at the end of each epoch."""

    def save(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Replace the last snapshot. Tensors are on any device, and later updates change them; facts are JSON-able."""

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return the last snapshot; None if none can be read."""


@dataclass
class TrainingState:
    """The progress of a step: the numbers that its record reports, and the weights of the best epoch so far."""

    epoch: int = 0
    updates: int = 0
    seconds: float = 0.0
    teacher_seconds: float = 0.0
    dev_seconds: float = 0.0
    losses: dict[str, list[float]] = field(default_factory=dict)
    dev_scores: list[float | None] = field(default_factory=list)
    selected: int = 0
    best_score: float = -math.inf
    best_weights: dict[str, Tensor] = field(default_factory=dict)

    def end_epoch(self, losses: Mapping[str, float], score: float | None, learner: Learner) -> None:
        """Add an epoch's mean losses and dev score. Without dev scores the last epoch is the best."""
        self.epoch += 1
        for name, mean in losses.items():
            self.losses.setdefault(name, []).append(mean)
        self.dev_scores.append(score)
        if score is None or score > self.best_score:
            self.selected, self.best_score = self.epoch, -math.inf if score is None else score
            self.best_weights = {name: value.detach().clone() for name, value in learner.state_dict().items()}


def snapshot(
    training: TrainingState, learner: Learner, optimizer: Optimizer
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return all that the rest of a step depends on, except what the start of the step recreates."""
    facts = {name: value for name, value in vars(training).items() if name != "best_weights"}
    facts["dropout"] = learner.encoder.dropout.state
    facts["training"] = learner.training
    facts["frozen"] = learner.frozen_parameters
    parts = {"weights": learner.state_dict(), "moments": optimizer.state, "random": _streams(learner.device)}
    if training.selected != training.epoch:  # otherwise the best weights are the current ones
        parts["best"] = training.best_weights
    return {f"{part}/{name}": value for part, named in parts.items() for name, value in named.items()}, facts


def resume(checkpoint: Checkpoint | None, learner: Learner, optimizer: Optimizer) -> TrainingState:
    """Restore the last snapshot and return its progress; without a snapshot, return an empty state.

    ``learner`` and ``optimizer`` must be in the state in which the step began.
    """
    kept = checkpoint.load() if checkpoint else None
    if kept is None:
        return TrainingState()
    tensors, facts = kept
    parts: dict[str, dict[str, Tensor]] = {"moments": {}, "best": {}}
    for key, value in tensors.items():
        part, _, name = key.partition("/")
        parts.setdefault(part, {})[name] = value
    learner.load_state_dict(parts["weights"])
    learner.frozen_parameters = facts["frozen"]
    learner.train(facts["training"])
    learner.encoder.dropout.state = facts["dropout"]
    optimizer.state = parts["moments"]
    torch.set_rng_state(parts["random"]["cpu"])
    if (device := learner.device).type == "cuda":
        torch.cuda.set_rng_state(parts["random"]["cuda"], device)
    training = TrainingState(**{name: facts[name] for name in vars(TrainingState()) if name in facts})
    training.best_weights = parts["best"] or parts["weights"]
    return training


def _streams(device: torch.device) -> dict[str, Tensor]:
    """Return torch's global random states, because a method or an encoder without our dropout may draw from them."""
    streams = {"cpu": torch.get_rng_state()}
    return streams | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})
