"""The contract of a method: the hooks that it may override.

The suite does everything else: growing heads, teacher, label masks, batches, schedule, evaluation, storage.

A method is a subclass of ``SpanLearner`` or ``TagLearner`` that overrides one or two hooks. Both base classes learn
from the labels they are given, on all columns. That is the fine-tuning lower bound; with the labels of all types it
is the joint reference.
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
    """The output of a model for a batch.

    Attributes:
        logits: ``[spans, types]`` or ``[words, 1 + 2 * types]``.
        words: word vectors ``[words, hidden]`` after dropout; None in a teacher's output.
    """

    logits: Tensor
    words: Tensor | None = None


class Learner(nn.Module):
    """A model and its learning rule. ``SpanLearner`` and ``TagLearner`` add head, base loss and decoding.

    The columns of the head are in learning order. In a continual step the labels cover the new types, and those old
    types that come back; mentions of all other old types are in the text but unlabelled.

    A step may stop after any epoch and resume in another process. Only these survive: parameters, their
    ``requires_grad`` flags, buffers, and the tensors in ``carried``. At the end of a step a new learner is made from
    their values in the selected epoch. Create modules and buffers in ``__init__`` or ``grow``. All other attributes
    are reset, before each epoch and before ``end_step``, to their values after ``begin_step``. Draw random numbers
    from torch's global generators: they are seeded before a learner is made, and in each step before it grows.

    Attributes:
        settings: the method's hyper-parameters, as its card names them.
        carried: tensors that the method keeps from step to step.
        grown: the types added by each step so far.
        step: 1..T, the step being learned.
        labelled: the types labelled in this step.
        n_old: the number of types that the previous step's model knew; they have the first columns.
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

    # Hooks: a method overrides these.

    @property
    def needs(self) -> frozenset[Need]:
        """Return the inputs that the suite supplies for this method.

        ``teacher``: ``losses`` receives the outputs of the previous step's selected model, from step 2 on.
        ``all_embeddings``: the table of word embeddings stays whole during a step. By default it holds only the words
        of the step's train and dev sentences, which is faster; others can then be embedded without gradients only.
        """
        return frozenset()

    def grow(self, types: Sequence[str], init: Init) -> None:
        """Add columns of the head for ``types``, and any modules of the method's own.

        Called in each step before ``begin_step`` (with no types if none is new), and once per earlier step when a
        model is loaded. ``init`` returns the random generator for a name.
        """
        if types:
            self.head.grow(types, init)

    def begin_step(self, data: StepData) -> None:
        """Prepare the step: freeze, initialise, collect. Called between growth and making the optimiser."""

    def begin_epoch(self, epoch: int) -> None:
        """Prepare an epoch (1..epochs)."""

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        """Return named scalars whose sum is minimised. ``teacher`` has the old columns of the same words or spans."""
        raise NotImplementedError

    def parameter_groups(self, lr: float, head_lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """Return the optimiser's parameter groups; parameters that get no gradient are not updated.

        The default is SpanKL's four groups (arXiv 2302.12200): the encoder at ``lr`` and everything else at
        ``head_lr``, each with and without weight decay. Vectors (biases and layer norms) are not decayed.
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
        """Change gradients. Called between the backward pass and clipping."""

    def end_step(self, data: StepData) -> None:
        """Finish the step: fuse weights, collect prototypes or exemplars. The dev-selected weights are in place."""

    def decode(
        self, logits: Tensor, lengths: Sequence[int], types: Sequence[str], nested: bool
    ) -> list[list[Prediction]]:
        """Return the predicted mentions of ``types`` (some or all known types) for each sentence."""
        raise NotImplementedError

    def rows(self, lengths: Sequence[int]) -> list[int]:
        """Return the number of rows of logits of each sentence."""
        raise NotImplementedError

    # Provided by the suite.

    def enter(self, data: StepData) -> None:
        """Set the current step, before the head grows."""
        self.step, self.labelled, self.n_old = data.step, data.labelled, len(self.head.types)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def n_columns(self) -> int:
        """The number of logits in a row."""
        return self.head.n_columns

    @property
    def unlabelled(self) -> tuple[str, ...]:
        """The old types that are not labelled in this step."""
        return tuple(t for t in self.head.types[: self.n_old] if t not in self.labelled)

    def columns(self, types: Sequence[str]) -> slice | list[int]:
        """Return the columns of ``types`` among all known types, as a slice if they are adjacent."""
        found = [self.head.types.index(t) for t in types]
        together = found == list(range(found[0], found[0] + len(found))) if found else False
        return slice(found[0], found[-1] + 1) if together else found

    def freeze_encoder(self) -> None:
        """Freeze the encoder: from now on it runs without dropout and without gradients."""
        self.encoder.requires_grad_(False)
        self.encoder.eval()

    @property
    def frozen_parameters(self) -> list[str]:
        """The names of the frozen parameters. Assignment freezes these and unfreezes all others."""
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
        """Return the logits of all known columns for a batch."""
        words = self.encode(batch) if batch.vectors is None else batch.vectors
        words = self.encoder.dropout(words, self.dropout if self.training else 0.0)
        with self._precision():
            return Output(self.head(words, batch.lengths), words)

    def encode(self, batch: Batch) -> Tensor:
        """Return the encoder's word vectors ``[words, hidden]`` of a batch."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.encoder_frozen), self._precision():
            words: Tensor = self.encoder(batch.tokens)
        return words

    def _precision(self) -> AbstractContextManager[object]:
        return autocast(self.device, self.autocast)


class SpanLearner(Learner):
    """A learner that scores every span for every type; the types are independent of one another."""

    architecture = "span"

    def __init__(self, encoder: Encoder, *args: Any, **kwargs: Any) -> None:
        super().__init__(encoder, *args, **kwargs)
        self.head = SpanHead(encoder.hidden_size, self.max_span_width)

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        """Return binary cross-entropy on all columns: every unlabelled span is a negative, of old types too."""
        return {"bce": self.bce(batch, output, self.head.types)}

    def bce(self, batch: Batch, output: Output, types: Sequence[str]) -> Tensor:
        """Return BCE: mean over ``types``, sum over spans, mean over sentences (SpanKL, arXiv 2302.12200)."""
        logits = output.logits[:, self.columns(types)]
        rows, columns = batch.span_gold(types, self.max_span_width)
        return bernoulli_ce(logits, rows, columns).mean() / len(batch.examples)

    def kl(self, batch: Batch, output: Output, teacher: Output, types: Sequence[str]) -> Tensor:
        """Return the KL divergence from the teacher: mean over ``types``, sum over spans, mean over sentences."""
        columns = self.columns(types)
        return bernoulli_kl(teacher.logits[:, columns], output.logits[:, columns]).mean() / len(batch.examples)

    def rows(self, lengths: Sequence[int]) -> list[int]:
        return [span_count(n, self.max_span_width) for n in lengths]

    def decode(
        self, logits: Tensor, lengths: Sequence[int], types: Sequence[str], nested: bool
    ) -> list[list[Prediction]]:
        return decode_spans(logits[:, self.columns(types)], lengths, types, nested, self.max_span_width)


class TagLearner(Learner):
    """A learner that labels every word with a BIO tag, by one softmax over all known types."""

    architecture = "token"

    def __init__(self, encoder: Encoder, *args: Any, **kwargs: Any) -> None:
        super().__init__(encoder, *args, **kwargs)
        self.head = TagHead(encoder.hidden_size)

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        """Return cross-entropy on all words: every unlabelled word is O, those of old types too."""
        return {"ce": F.cross_entropy(output.logits, batch.tag_targets(self.head.types))}

    def rows(self, lengths: Sequence[int]) -> list[int]:
        return list(lengths)

    def decode(
        self, logits: Tensor, lengths: Sequence[int], types: Sequence[str], nested: bool
    ) -> list[list[Prediction]]:
        decoded = decode_tags(logits, lengths, self.head.types)
        return [[p for p in sentence if p.type in types] for sentence in decoded]
