"""The contract of a method: what it may decide.

Everything else (growing heads, teacher, label masks, batches, schedule, evaluation, storage) is the suite's.

A method is a subclass of ``SpanLearner`` or ``TagLearner`` that overrides a hook or two. Without any, both learn from
the labels they are given, on all columns: the fine-tuning lower bound, and the joint reference where the data layer
gives them the labels of all types.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cl_ner_bench.learning.batches import Batch
from cl_ner_bench.learning.carried import Carried
from cl_ner_bench.models.decoding import Prediction, decode_spans, decode_tags
from cl_ner_bench.models.encoders.encoder import Encoder
from cl_ner_bench.models.heads.growing import GrowingHead, Init
from cl_ner_bench.models.heads.span import SpanHead, span_count
from cl_ner_bench.models.heads.tag import TagHead
from cl_ner_bench.models.losses import bernoulli_ce, bernoulli_kl
from cl_ner_bench.models.precision import autocast
from cl_ner_bench.scenarios.task import StepData

__all__ = ["Batch", "Learner", "Need", "Output", "Prediction", "SpanLearner", "StepData", "TagLearner"]


Need = Literal["teacher", "all_embeddings"]


@dataclass(frozen=True, slots=True)
class Output:
    """What a model gives for a batch. ``logits`` is ``[spans, types]`` or ``[words, 1 + 2 * types]``.

    ``words`` are the word vectors ``[words, hidden]`` after dropout; a teacher's output has none.
    """

    logits: Tensor
    words: Tensor | None = None


class Learner(nn.Module):
    """The outer contract. ``SpanLearner`` and ``TagLearner`` add head, base loss and decoding.

    Columns of the head stand in learning order. In a continual step the labels cover the new types, and old ones only
    where they come back; the other old types are there, but unlabelled.

    A step may be stopped behind any epoch and go on in another process. What outlives an epoch must therefore be
    parameters (and which of them learn), buffers, or tensors in ``carried``; the step ends with those of the selected
    epoch, and with a new learner that was given them and nothing else. Modules and buffers are made in ``__init__`` or
    ``grow``. Other attributes are, in each epoch and in ``end_step``, what they were behind ``begin_step``. Random
    numbers are drawn from torch's global streams, which are seeded before a learner is made and in each step before it
    grows.

    Attributes:
        settings: the method's hyper-parameters, as its card names them.
        carried: tensors that the method keeps.
        grown: the types that each step so far added.
        step: 1..T, the step being learned.
        labelled: the types that this step's labels cover.
        n_old: how many types (the first columns) the previous step's model knew.
    """

    architecture: str
    head: GrowingHead

    def __init__(
        self, encoder: Encoder, settings: Mapping[str, Any], dropout: float = 0.1, max_span_width: int = 0
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = dropout
        self.max_span_width = max_span_width
        self.settings = settings
        self.carried = Carried()
        self.grown: list[tuple[str, ...]] = []
        self.autocast: torch.dtype | None = None
        self.step = 0
        self.labelled: tuple[str, ...] = ()
        self.n_old = 0

    # What a method may decide.

    @property
    def needs(self) -> frozenset[Need]:
        """Inputs that the suite supplies for this method.

        ``teacher``: ``losses`` is given the outputs of the previous step's selected model, once there is one.
        ``all_embeddings``: the table of word embeddings stays whole while a step is learned. Otherwise it holds the
        words of the step's train and dev sentences, which is faster; others can be embedded without gradients only.
        """
        return frozenset()

    def grow(self, types: Sequence[str], init: Init) -> None:
        """Add what ``types`` need: columns of the head, and modules of the method's own.

        Called in each step before ``begin_step``, without types where none is new, and for each earlier step when a
        model is loaded. ``init`` gives the random stream of a name.
        """
        if types:
            self.head.grow(types, init)

    def begin_step(self, data: StepData) -> None:
        """Called once the head has grown, before the optimiser is made: freeze, initialise, collect."""

    def begin_epoch(self, epoch: int) -> None:
        """Called before each epoch (1..epochs)."""

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        """Named scalars whose sum is minimised. ``teacher`` covers the old columns of the same words or spans."""
        raise NotImplementedError

    def parameter_groups(self, lr: float, head_lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """Return groups of all parameters that shall learn in this step; those without a gradient are left alone.

        There are four, as in SpanKL (arXiv 2302.12200): the encoder at ``lr`` and everything else at ``head_lr``, each
        with and without weight decay. Biases and layer norms (all vectors) are not decayed.
        """
        encoder = list(self.encoder.parameters())
        known = set(encoder)
        others = [p for p in self.parameters() if p not in known]
        return [
            {
                "params": [p for p in parameters if (p.ndim > 1) == decayed],
                "lr": rate,
                "weight_decay": weight_decay if decayed else 0.0,
            }
            for parameters, rate in ((others, head_lr), (encoder, lr))
            for decayed in (True, False)
        ]

    def after_backward(self) -> None:
        """Called between backward and clipping: change gradients here."""

    def end_step(self, data: StepData) -> None:
        """Called with the dev-selected weights in place: fuse weights, collect prototypes or exemplars."""

    def decode(
        self, logits: Tensor, lengths: Sequence[int], types: Sequence[str], nested: bool
    ) -> list[list[Prediction]]:
        """Predicted mentions of ``types``, some or all of the known ones, in each sentence."""
        raise NotImplementedError

    def rows(self, lengths: Sequence[int]) -> list[int]:
        """How many rows of logits each sentence has."""
        raise NotImplementedError

    # What the suite does for it.

    def enter(self, data: StepData) -> None:
        """Make ``data``'s step the current one, before the head grows."""
        self.step, self.labelled, self.n_old = data.step, data.labelled, len(self.head.types)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def n_columns(self) -> int:
        """How many logits a row has."""
        return self.head.n_columns

    @property
    def unlabelled(self) -> tuple[str, ...]:
        """The old types that this step's labels do not cover."""
        return tuple(t for t in self.head.types[: self.n_old] if t not in self.labelled)

    def columns(self, types: Sequence[str]) -> slice | list[int]:
        """Where ``types`` stand among all known types: a slice where they stand together."""
        found = [self.head.types.index(t) for t in types]
        together = found == list(range(found[0], found[0] + len(found))) if found else False
        return slice(found[0], found[-1] + 1) if together else found

    def freeze_encoder(self) -> None:
        """Stop learning the encoder; from now on it runs without dropout and without gradients."""
        self.encoder.requires_grad_(False)
        self.encoder.eval()

    @property
    def frozen_parameters(self) -> list[str]:
        """Names of the parameters that do not learn; those that are assigned stop, and all others learn."""
        return [name for name, p in self.named_parameters() if not p.requires_grad]

    @frozen_parameters.setter
    def frozen_parameters(self, names: Collection[str]) -> None:
        for name, p in self.named_parameters():
            p.requires_grad_(name not in names)

    @property
    def encoder_frozen(self) -> bool:
        return not any(p.requires_grad for p in self.encoder.parameters())

    def train(self, mode: bool = True) -> Learner:
        super().train(mode)
        if self.encoder_frozen:
            self.encoder.eval()
        return self

    def forward(self, batch: Batch) -> Output:
        """Logits of all known columns for a batch."""
        words = self.encode(batch) if batch.vectors is None else batch.vectors
        words = self.encoder.masks(words, self.dropout if self.training else 0.0)
        with self._precision():
            return Output(self.head(words, batch.lengths), words)

    def encode(self, batch: Batch) -> Tensor:
        """Word vectors ``[words, hidden]`` of a batch, as the encoder gives them."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.encoder_frozen), self._precision():
            words: Tensor = self.encoder(batch.tokens)
        return words

    def _precision(self) -> AbstractContextManager[object]:
        return autocast(self.device, self.autocast)


class SpanLearner(Learner):
    """Scores every span for every type; types are independent of one another."""

    architecture = "span"

    def __init__(self, encoder: Encoder, *args: Any, **kwargs: Any) -> None:
        super().__init__(encoder, *args, **kwargs)
        self.head = SpanHead(encoder.hidden_size, self.max_span_width)

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        """Binary cross-entropy on all columns: what carries no label is a negative, old types too."""
        return {"bce": self.bce(batch, output, self.head.types)}

    def bce(self, batch: Batch, output: Output, types: Sequence[str]) -> Tensor:
        """Mean over ``types``, sum over spans, mean over sentences (SpanKL, arXiv 2302.12200)."""
        logits = output.logits[:, self.columns(types)]
        rows, columns = batch.span_gold(types, self.max_span_width)
        return bernoulli_ce(logits, rows, columns).mean() / len(batch.examples)

    def kl(self, batch: Batch, output: Output, teacher: Output, types: Sequence[str]) -> Tensor:
        """Divergence from the teacher: mean over ``types``, sum over spans, mean over sentences."""
        columns = self.columns(types)
        return bernoulli_kl(teacher.logits[:, columns], output.logits[:, columns]).mean() / len(batch.examples)

    def rows(self, lengths: Sequence[int]) -> list[int]:
        return [span_count(n, self.max_span_width) for n in lengths]

    def decode(
        self, logits: Tensor, lengths: Sequence[int], types: Sequence[str], nested: bool
    ) -> list[list[Prediction]]:
        return decode_spans(logits[:, self.columns(types)], lengths, types, nested, self.max_span_width)


class TagLearner(Learner):
    """Labels every word with a BIO tag from one softmax over all known types."""

    architecture = "token"

    def __init__(self, encoder: Encoder, *args: Any, **kwargs: Any) -> None:
        super().__init__(encoder, *args, **kwargs)
        self.head = TagHead(encoder.hidden_size)

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        """Cross-entropy on all words: what carries no label is O, old types too."""
        return {"ce": F.cross_entropy(output.logits, batch.tag_targets(self.head.types))}

    def rows(self, lengths: Sequence[int]) -> list[int]:
        return list(lengths)

    def decode(
        self, logits: Tensor, lengths: Sequence[int], types: Sequence[str], nested: bool
    ) -> list[list[Prediction]]:
        decoded = decode_tags(logits, lengths, self.head.types)
        return [[p for p in sentence if p.type in types] for sentence in decoded]
