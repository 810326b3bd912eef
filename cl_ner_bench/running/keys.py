"""Keys of steps. Equal keys mean bit-identical computations; keys differ if any number could differ.

Runs share a step if they have the same key for it. If step 1 is that of the base learner, its key names no method. The
key of a joint model that starts from scratch depends on its set of sentences and types, not on the order of its tasks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cl_ner_bench.learning.numerics import NUMERICS
from cl_ner_bench.method_card import MethodCard
from cl_ner_bench.running import environment
from cl_ner_bench.scenarios.task import TaskSplit
from cl_ner_bench.storage.files import digest
from cl_ner_bench.storage.run_record import WITHOUT_NUMBERS


def numeric_identity(card: MethodCard, settings: Mapping[str, Any], fingerprints: Mapping[str, str]) -> dict[str, Any]:
    """Return everything that decides the numbers of a run besides its order and seed.

    Paths, log levels and worker counts decide no number. The content of a file that a method reads does.
    """
    settings = {**settings, "method": {k: v for k, v in settings["method"].items() if k not in card.files}}
    return {
        "method": [card.name, card.class_name, card.architecture, card.data, card.start],
        "settings": {k: v for k, v in settings.items() if k not in WITHOUT_NUMBERS},
        "fingerprints": {k: v for k, v in fingerprints.items() if k != "split"},
        "numerics": NUMERICS,
        "torch": environment.torch_minor(),
    }


def base_identity(values: Mapping[str, Any], card: MethodCard) -> dict[str, Any]:
    """Return the part of :func:`numeric_identity` that decides the numbers of the base learner."""
    of_method = ("method", "files")
    own = {key: {k: v for k, v in values[key].items() if k not in of_method} for key in ("settings", "fingerprints")}
    return {**values, **own, "method": [card.architecture]}


class StepKeys:
    """The keys of a grid's steps. Hashes the many sentence ids of a step once for all runs."""

    def __init__(self) -> None:
        self._known_inputs: dict[tuple[str, int, bool, bool], str] = {}

    def __call__(
        self, card: MethodCard, values: Mapping[str, Any], split: TaskSplit, seed: int, steps: Iterable[int]
    ) -> dict[str, str]:
        """Return the key of each step: the sha256 (hex) of its parent's key and all inputs of its computation."""
        keys: dict[str, str] = {}
        parent = None
        for step in steps:
            identity = base_identity(values, card) if step == 1 and card.first_step == "base" else values
            inputs = self._inputs(card, split, step)
            key = keys[str(step)] = digest({**identity, "seed": seed, "parent": parent, "given": inputs})
            parent = key if card.start == "previous" else None
        return keys

    def _inputs(self, card: MethodCard, split: TaskSplit, step: int) -> str:
        """Return the digest of a step's data (ids and labels) and of its test sets."""
        how = (card.is_cumulative, card.start == "pretrained")
        which = (split.hash, step, *how)
        if which not in self._known_inputs:
            test = {name: [sorted(types), split.test_sets[name]] for name, types in split.scored_types(step).items()}
            content = {"learn": split.step_inputs(step, *how), "test": test, "max_words": split.protocol.max_words}
            self._known_inputs[which] = digest(content)
        return self._known_inputs[which]
