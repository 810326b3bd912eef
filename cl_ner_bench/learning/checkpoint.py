"""What a step that was stopped goes on from, and the contract with whoever keeps it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from cl_ner_bench.learning.learner import Learner
from cl_ner_bench.learning.optim import AdamW

SCHEMA = 2
"""The version of what ``state`` gives; a change to it raises it, and what was kept before is of no use then."""


class Checkpoint(Protocol):
    """Keeps one state of one step; where, and how often, is its own matter."""

    def due(self) -> bool:
        """Whether it is time to keep the state, asked at the end of each epoch."""

    def save(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Keep a state in place of the last. Both are those in use; tensors lie on any device, facts are JSON-able."""

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The state that was kept last, None where there is none (that can be read)."""


@dataclass
class Course:
    """How a step has gone so far: what its record will say of it, and the weights of its best epoch."""

    epoch: int = 0
    updates: int = 0
    seconds: float = 0.0
    losses: dict[str, list[float]] = field(default_factory=dict)
    dev_scores: list[float | None] = field(default_factory=list)
    selected: int = 0
    best_score: float = -math.inf
    best_weights: dict[str, Tensor] = field(default_factory=dict)

    def end_epoch(self, losses: Mapping[str, float], score: float | None, learner: Learner) -> None:
        """Take up an epoch's mean losses and its dev score; without scores the last epoch is the best."""
        self.epoch += 1
        for name, mean in losses.items():
            self.losses.setdefault(name, []).append(mean)
        self.dev_scores.append(score)
        if score is None or score > self.best_score:
            self.selected, self.best_score = self.epoch, -math.inf if score is None else score
            self.best_weights = {name: value.detach().clone() for name, value in learner.state_dict().items()}


def state(course: Course, learner: Learner, optimizer: AdamW) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """All that the rest of a step depends on, beside what the start of each step makes anew."""
    facts = {name: value for name, value in vars(course).items() if name != "best_weights"}
    facts["masks"] = learner.encoder.masks.state
    facts["training"] = learner.training
    facts["frozen"] = learner.frozen_parameters
    parts = {"weights": learner.state_dict(), "moments": optimizer.state, "random": _streams(learner.device)}
    if course.selected != course.epoch:  # else the best weights are the weights
        parts["best"] = course.best_weights
    return {f"{part}/{name}": value for part, named in parts.items() for name, value in named.items()}, facts


def resumed(checkpoint: Checkpoint | None, learner: Learner, optimizer: AdamW) -> Course:
    """Take up what is kept, if anything is. ``learner`` and ``optimizer`` are as at the start of the same step."""
    kept = checkpoint.load() if checkpoint else None
    if kept is None:
        return Course()
    tensors, facts = kept
    parts: dict[str, dict[str, Tensor]] = {"moments": {}, "best": {}}
    for key, value in tensors.items():
        part, _, name = key.partition("/")
        parts.setdefault(part, {})[name] = value
    learner.load_state_dict(parts["weights"])
    learner.frozen_parameters = facts["frozen"]
    learner.train(facts["training"])
    learner.encoder.masks.state = facts["masks"]
    optimizer.state = parts["moments"]
    torch.set_rng_state(parts["random"]["cpu"])
    if (device := learner.device).type == "cuda":
        torch.cuda.set_rng_state(parts["random"]["cuda"], device)
    course = Course(**{name: facts[name] for name in vars(Course()) if name in facts})
    course.best_weights = parts["best"] or parts["weights"]
    return course


def _streams(device: torch.device) -> dict[str, Tensor]:
    """torch's global random states, of which a method or an encoder of its own kind may draw."""
    streams = {"cpu": torch.get_rng_state()}
    return streams | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})
