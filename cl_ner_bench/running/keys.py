"""Keys of steps: equal where the same is computed, to the bit, and different wherever a number could differ.

Two runs whose steps have one key share that step. A step 1 that is the base learner's is known by no method; a joint
model that starts anew is known by its set of sentences and types, in whatever order its tasks came.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cl_ner_bench.learning.numerics import NUMERICS
from cl_ner_bench.registry import MethodCard
from cl_ner_bench.running import machine
from cl_ner_bench.scenarios.task import TaskSplit
from cl_ner_bench.storage.json_files import digest


def computed(card: MethodCard, settings: Mapping[str, Any], fingerprints: Mapping[str, str]) -> dict[str, Any]:
    """What decides the numbers of a run beside its order and seed. Neither paths, log levels nor worker counts do."""
    return {
        "method": [card.name, card.class_name, card.architecture, card.data, card.start],
        "settings": {k: v for k, v in settings.items() if k not in ("recipe", "joint_steps", "training_check")},
        "fingerprints": {k: v for k, v in fingerprints.items() if k != "split"},
        "numerics": NUMERICS,
        "torch": machine.torch_minor(),
    }


def of_base(values: Mapping[str, Any], card: MethodCard) -> dict[str, Any]:
    """What of :func:`computed` decides the numbers of the base learner."""
    own = {key: {k: v for k, v in values[key].items() if k != "method"} for key in ("settings", "fingerprints")}
    return {**values, **own, "method": [card.architecture]}


class StepKeys:
    """Gives the keys of a grid's steps. Sentence ids are many: what a step is given is hashed once for all its runs."""

    def __init__(self) -> None:
        self._given: dict[tuple[str, int, bool, bool], str] = {}

    def __call__(
        self, card: MethodCard, values: Mapping[str, Any], split: TaskSplit, seed: int, steps: Iterable[int]
    ) -> dict[str, str]:
        """sha256 (hex) of each step: over its parent's key (where it has one) and everything that it computes from."""
        keys: dict[str, str] = {}
        parent = None
        for step in steps:
            by = of_base(values, card) if step == 1 and card.first_step == "base" else values
            given = self._what_is_given(card, split, step)
            key = keys[str(step)] = digest({**by, "seed": seed, "parent": parent, "given": given})
            parent = key if card.start == "previous" else None
        return keys

    def _what_is_given(self, card: MethodCard, split: TaskSplit, step: int) -> str:
        """Digest of the step's data as ids and labels, and of the test sets that it is scored on."""
        how = (card.data == "union", card.start == "pretrained")
        place = (split.hash, step, *how)
        if place not in self._given:
            test = {name: [sorted(types), split.test_sets[name]] for name, types in split.scored_types(step).items()}
            facts = {"learn": split.step_inputs(step, *how), "test": test, "max_words": split.protocol.max_words}
            self._given[place] = digest(facts)
        return self._given[place]
