"""A dataset's card: a TOML file that states its types, tasks, orders, licence, sources, counts and recipes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from cl_ner_bench.errors import short
from cl_ner_bench.validation import AtLeast0, Below1, Count, MisfitError, Positive, Share, Text, Whole

Part = Literal["train", "dev", "test"]

FORBIDS_SHARING = "may not be shared"
"""Stands in the licence of a card whose text must not be passed on."""


class Hub(Struct, frozen=True, forbid_unknown_fields=True):
    """The place of a corpus on the Hugging Face hub, and the columns of its tables.

    ``revision`` is a commit or a branch. For a script-based set it is the branch ``refs/convert/parquet``, whose files
    lie in ``folder``/train, ``folder``/validation and ``folder``/test. ``config`` names a subset, if the set declares
    subsets. ``tags`` are the columns of tags, one for each layer; without them, columns with common names are used.
    """

    repo: Annotated[str, Meta(min_length=1, description="the name of a dataset on the hub")]
    revision: Text = "main"
    config: str = ""
    folder: str = ""
    tags: Annotated[tuple[Text, ...], Meta(description="a list of columns")] = ()


class PartCounts(Struct, frozen=True, forbid_unknown_fields=True):
    """The published sizes of one part; ``types`` counts mentions by type."""

    sentences: Count | None = None
    words: Count | None = None
    mentions: Count | None = None
    types: Mapping[str, Count] = {}


class Explained(Struct, frozen=True, forbid_unknown_fields=True):
    """A count that differs from the published one for a known reason: ``part`` has ``value`` of ``key``.

    ``accepted``: published scores come from such copies too, so scores on them may be compared.
    """

    part: Part
    key: str
    value: Whole
    means: str
    accepted: bool = False


UNSTATED: Mapping[str, Any] = {
    "optimizer": "adamw",
    "schedule": "cosine",
    "first_lr": 0.0,
    "first_lr_epochs": 0,
    "head_weight_decay": None,
    "decayed": "matrices",
    "head": "linear",
    "new_rows": "random",
    "old_rows": "learn",
    "span_prior": 0.0,
    "encoder_layers": 0,
}
"""The values of hyper-parameters that a recipe leaves out. They are never stored, so a new entry changes no key."""


def stated_only(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return hyper-parameters without those that have their value of ``UNSTATED``."""
    return {key: value for key, value in values.items() if value != UNSTATED.get(key, ())}


class HyperParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """Hyper-parameters of a recipe, within the bounds of the options with the same names.

    ``clip``: 0 means no clipping. ``schedule``: after the warm-up the rate falls to 0 along half a cosine or a line, or
    is constant. ``first_lr``: the encoder's rate in the first ``first_lr_epochs`` epochs of a model's first step; the
    head's rate changes in proportion.
    ``head_weight_decay``: the decay of all weights outside the encoder, if it differs. ``decayed``: decay applies to
    ``all`` weights, or to ``matrices`` only, not to biases and layer norms.
    ``head``: the logits of a token method are linear in a word's vector, or scaled cosines.
    ``new_rows``: rows that a cosine head adds start at random, or at the means of their words in train or dev
    (``imprint``, ``imprint-dev``). ``old_rows``: rows of O and of types without labels in a step learn or are frozen.
    ``span_prior``: the share of spans that a new type of a span head predicts before it has learned anything; 0 means
    SpanKL's start, about a half. ``encoder_layers``: the number of lowest layers that the encoder keeps; 0 means all.
    """

    epochs: Positive | None = None
    batch_size: Positive | None = None
    lr: AtLeast0 | None = None
    head_lr: AtLeast0 | None = None
    weight_decay: AtLeast0 | None = None
    dropout: Share | None = None
    clip: AtLeast0 | None = None
    warmup_updates: Count | None = None
    warmup_share: Share | None = None
    max_length: Annotated[int, Meta(ge=8, le=2**63 - 1, description="a whole number of at least 8")] | None = None
    max_span_width: Count | None = None
    pool: Positive | None = None
    optimizer: Literal["adamw", "sgd"] | None = None
    schedule: Literal["cosine", "linear", "constant"] | None = None
    first_lr: AtLeast0 | None = None
    first_lr_epochs: Count | None = None
    head_weight_decay: AtLeast0 | None = None
    decayed: Literal["matrices", "all"] | None = None
    head: Literal["linear", "cosine"] | None = None
    new_rows: Literal["random", "imprint", "imprint-dev"] | None = None
    old_rows: Literal["learn", "frozen"] | None = None
    span_prior: Below1 | None = None
    encoder_layers: Count | None = None

    def given(self) -> dict[str, Any]:
        """Return the stated values, without the tables of single architectures and scenarios."""
        values = {name: getattr(self, name) for name in HyperParameters.__struct_fields__}
        return {name: value for name, value in values.items() if value is not None}


class Recipe(HyperParameters, frozen=True, forbid_unknown_fields=True):
    """Hyper-parameters, with tables for one architecture and for scenarios, by patterns like ``fg*-pg1``."""

    span: HyperParameters = HyperParameters()
    token: HyperParameters = HyperParameters()
    scenarios: Mapping[str, HyperParameters] = {}


class CardTable(Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of a card's file; :class:`Card` explains them."""

    name: Text
    title: Text
    tasks: Mapping[
        str, Annotated[tuple[Text, ...], Meta(min_length=1, description='a list of types like ["PERSON", "ORG"]')]
    ] = {}
    orders: Annotated[tuple[tuple[Whole, ...], ...], Meta(description="a list of orders like [[0, 1], [1, 0]]")] = ()
    aliases: Mapping[str, Annotated[tuple[Text, ...], Meta(description='a list of names like ["location"]')]] = {}
    licence: str = ""
    citation: str = ""
    how_to_get: str = ""
    hub: Hub | None = None
    reader: Literal["auto", "conll2012", "synthetic", "union"] = "auto"
    reader_options: Mapping[str, Any] = {}
    counts: Mapping[Part, PartCounts] = {}
    explained_counts: tuple[Explained, ...] = ()
    undertrained_below: Annotated[float, Meta(ge=0, le=1e308, description="a number of at least 0")] = 20.0
    joint_steps: Literal["all", "last"] = "all"
    scenarios: Mapping[str, Annotated[Mapping[str, Any], Meta(description="a table that describes a protocol")]] = {}
    recipes: Mapping[str, Recipe] = {}
    schema: Literal[1] = 1

    def __post_init__(self) -> None:
        for type_, times in Counter(self.types).items():
            if times > 1:
                raise MisfitError("tasks", "each type in one task only", f"{short(type_)} twice")
        for type_ in self.aliases:
            if self.tasks and type_ not in self.types:
                raise MisfitError("aliases", f"types of the tasks ({', '.join(self.types)})", short(type_))
        for order in self.orders:
            if sorted(order) != list(range(len(self.tasks))):
                expected = f"permutations of the {len(self.tasks)} tasks, numbered from 0"
                raise MisfitError("orders", expected, short(list(order)))

    @property
    def types(self) -> tuple[str, ...]:
        """All types, in the base order of their tasks."""
        return tuple(t for types in self.tasks.values() for t in types)


class Card(CardTable, frozen=True):
    """The facts about a dataset that are known before its text is read.

    ``tasks`` maps a task's name to its types, in the base order, which numbers the tasks ``0..T-1``.
    ``orders`` are permutations of these numbers. Without a card both are empty until the sentences are read; then
    each type is a task. ``aliases`` are other names of types (``corpora.aliases``).
    ``find.options_of`` checks ``reader_options``.
    ``counts`` are the published counts; ``explained_counts`` are other known counts and their meaning.
    ``joint_steps`` are the steps at which joint models are trained by default. ``scenarios`` maps a name to the
    table of a protocol. ``file`` is the path of the card's file.
    """

    file: str = ""

    @property
    def where(self) -> str:
        """The beginning of messages about the card."""
        return self.file or f"card {self.name}"

    def says_the_same(self, other: Card) -> bool:
        """Return True if both cards state the same, even in different files."""
        return msgspec.structs.replace(self, file="") == msgspec.structs.replace(other, file="")
