"""A dataset's card: a TOML file that states its types, tasks, orders, licence, counts and recipes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Card:
    """What is known of a dataset before its text is read.

    ``tasks`` maps a task's name to its types, in the base order (tasks are numbered ``0..T-1`` by it);
    ``orders`` are permutations of these numbers. Both are empty for a corpus without a card until its
    sentences are read; then each type is a task. ``recipes`` maps a recipe's name to hyper-parameters,
    where the tables ``span`` and ``token`` hold those of one architecture alone.
    """

    name: str
    title: str
    tasks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    orders: tuple[tuple[int, ...], ...] = ()
    licence: str = ""
    citation: str = ""
    how_to_get: str = ""
    reader: str = "auto"
    reader_options: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    undertrained_below: float = 20.0
    joint_steps: str = "all"  # at which steps joint models are trained unless the user says: all, last
    recipes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def types(self) -> tuple[str, ...]:
        """All types, in the base order of their tasks."""
        return tuple(t for types in self.tasks.values() for t in types)
