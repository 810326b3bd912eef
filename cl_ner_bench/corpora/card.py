"""A dataset's card: a TOML file that states its types, tasks, orders, licence, sources, counts and recipes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Hub:
    """Where a corpus lies on the Hugging Face hub, and which columns of its tables hold what.

    ``revision`` is a commit or a branch; of a script-based set the branch ``refs/convert/parquet``, whose files lie
    in ``folder``/train, ``folder``/validation and ``folder``/test. ``config`` names the subset of a set that declares
    some. ``tags`` are the columns of tags, one a layer (none given: found by common names).
    """

    repo: str
    revision: str = "main"
    config: str = ""
    folder: str = ""
    tags: tuple[str, ...] = ()


class Explained(NamedTuple):
    """A count that differs from the published one for a known reason: ``part`` has ``value`` of ``key``.

    ``accepted``: published numbers are of such copies too, so that numbers on them may stand side by side.
    """

    part: str
    key: str
    value: int
    means: str
    accepted: bool = False


@dataclass(frozen=True)
class Card:
    """What is known of a dataset before its text is read.

    ``tasks`` maps a task's name to its types, in the base order (tasks are numbered ``0..T-1`` by it);
    ``orders`` are permutations of these numbers. Both are empty for a corpus without a card until its
    sentences are read; then each type is a task. ``counts`` are the published ones by part: ``sentences``,
    ``words``, ``mentions``, and mentions by type under ``types``; ``explained_counts`` are other counts that are
    known, and what they mean. ``scenarios`` maps a name to the table of a protocol. ``recipes`` maps a recipe's
    name to hyper-parameters, where the tables ``span`` and ``token`` hold those of one architecture alone. ``file`` is
    where the card was read from.
    """

    name: str
    title: str
    tasks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    orders: tuple[tuple[int, ...], ...] = ()
    licence: str = ""
    citation: str = ""
    how_to_get: str = ""
    hub: Hub | None = None
    reader: str = "auto"
    reader_options: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    explained_counts: tuple[Explained, ...] = ()
    undertrained_below: float = 20.0
    joint_steps: str = "all"  # at which steps joint models are trained unless the user says: all, last
    scenarios: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    recipes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    file: str = field(default="", compare=False)

    @property
    def types(self) -> tuple[str, ...]:
        """All types, in the base order of their tasks."""
        return tuple(t for types in self.tasks.values() for t in types)

    @property
    def where(self) -> str:
        """How messages begin that are about what the card says."""
        return self.file or f"card {self.name}"
