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

    ``revision`` is a commit or a branch; of a script-based set the branch ``refs/convert/parquet``, whose files lie
    in ``folder``/train, ``folder``/validation and ``folder``/test. ``config`` names the subset of a set that declares
    some. ``tags`` are the columns of tags, one a layer (none given: found by common names).
    """

    repo: Annotated[str, Meta(min_length=1, description="the name of a dataset on the hub")]
    revision: Text = "main"
    config: str = ""
    folder: str = ""
    tags: Annotated[tuple[Text, ...], Meta(description="a list of columns")] = ()


class PartCounts(Struct, frozen=True, forbid_unknown_fields=True):
    """The published sizes of one part; ``types`` are mentions by type."""

    sentences: Count | None = None
    words: Count | None = None
    mentions: Count | None = None
    types: Mapping[str, Count] = {}


class Explained(Struct, frozen=True, forbid_unknown_fields=True):
    """A count that differs from the published one for a known reason: ``part`` has ``value`` of ``key``.

    ``accepted``: published numbers are of such copies too, so that numbers on them may stand side by side.
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
"""The values of hyper-parameters that a recipe leaves out. They are never stored, so a new one changes no key."""


class HyperParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """Hyper-parameters of a recipe, within the bounds of the options of the same names.

    ``clip`` 0: no clipping. ``schedule``: after the warm-up, half a cosine or a line down to 0, or no change.
    ``first_lr``: the rate of encoder and head in the first ``first_lr_epochs`` epochs of a model's first step.
    ``head_weight_decay``: that of everything but the encoder, if it differs. ``decayed``: ``all`` weights, or
    ``matrices`` only, without biases and layer norms. ``head``: of token methods; its logits are linear in a word's
    vector, or scaled cosines. ``new_rows``: of a grown cosine head, random, or the means of their train or
    dev words (``imprint``, ``imprint-dev``).
    ``old_rows``: those of types without labels in a step, and O's, learn or are frozen.
    ``span_prior``: the share of spans that a new type of a span head finds before it has learned anything; 0: SpanKL's
    start, at about a half.
    ``encoder_layers``: only so many of the encoder's lowest layers are there; 0: all.
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
        """Return what is stated here, without the tables of single architectures and scenarios."""
        values = {name: getattr(self, name) for name in HyperParameters.__struct_fields__}
        return {name: value for name, value in values.items() if value is not None}


class Recipe(HyperParameters, frozen=True, forbid_unknown_fields=True):
    """Hyper-parameters, those of one architecture alone, and those of scenarios, by patterns like ``fg*-pg1``."""

    span: HyperParameters = HyperParameters()
    token: HyperParameters = HyperParameters()
    scenarios: Mapping[str, HyperParameters] = {}


class CardTable(Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of a card's file. Docs: :class:`Card`."""

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

    ``tasks`` maps a task's name to its types, in the base order (tasks are numbered ``0..T-1`` by it);
    ``orders`` are permutations of these numbers. Both are empty for a corpus without a card until its
    sentences are read; then each type is a task. ``aliases`` are other names of types (``corpora.aliases``).
    ``reader_options`` are checked by the reader (``load.find_card``).
    ``counts`` are the published ones; ``explained_counts`` are other counts that are known, and what they mean.
    ``joint_steps`` says at which steps joint models are trained unless the user says. ``scenarios`` maps a name to the
    table of a protocol. ``file`` is where the card was read from.
    """

    file: str = ""

    @property
    def where(self) -> str:
        """The beginning of messages about what the card says."""
        return self.file or f"card {self.name}"

    def says_the_same(self, other: Card) -> bool:
        """Return True where both cards state the same, wherever they were read from."""
        return msgspec.structs.replace(self, file="") == msgspec.structs.replace(other, file="")
