"""The contract of a method: the hooks that it may override.

The suite does everything else: growing heads, teacher, label masks, batches, schedule, evaluation, storage.

A method is a subclass of ``SpanLearner`` or ``TagLearner`` that overrides one or two hooks. Both base classes learn
from the labels they are given, on all columns. That is the fine-tuning lower bound; with the labels of all types it
is the joint reference.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cl_ner_bench.corpora.card import UNSTATED
from cl_ner_bench.errors import UserError, did_you_mean
from cl_ner_bench.learning.batches import Batch
from cl_ner_bench.learning.carried import Carried
from cl_ner_bench.learning.likelihood import of_drawn_classes, of_drawn_columns
from cl_ner_bench.learning.memory import Memory
from cl_ner_bench.learning.optim import SGD, AdamW, Optimizer, scheduled
from cl_ner_bench.learning.output import Output
from cl_ner_bench.learning.step import Step
from cl_ner_bench.models.decoding import Prediction, decode_spans, decode_tags
from cl_ner_bench.models.encoders.encoder import Encoder, Encoding
from cl_ner_bench.models.heads.cosine import CosineHead
from cl_ner_bench.models.heads.growing import GrowingHead, Init
from cl_ner_bench.models.heads.span import SpanHead, span_count
from cl_ner_bench.models.heads.tag import TagHead
from cl_ner_bench.models.losses import bernoulli_ce, bernoulli_kl, open_ce
from cl_ner_bench.models.precision import autocast
from cl_ner_bench.scenarios.task import StepData

__all__ = [
    "Batch",
    "Learner",
    "Need",
    "Output",
    "Prediction",
    "SpanLearner",
    "Step",
    "StepData",
    "TagLearner",
    "plugged",
]


Need = Literal["teacher", "features", "layers", "attentions", "memory", "all_embeddings"]


class Settings(dict[str, Any]):
    """A method's hyper-parameters by name; an unknown name raises UserError."""

    def __missing__(self, name: str) -> Any:
        known = ", ".join(self) or "none"
        raise UserError(
            f"no setting {name!r} in the card's settings; it has {known}.{did_you_mean(name, [*self])} Each setting is "
            "listed there with its default, those of an extended method, too"
        )


class Learner(nn.Module):
    """A model and its learning rule. ``SpanLearner`` and ``TagLearner`` add head, base loss and decoding.

    The columns of the head are in learning order. In a continual step the labels cover the types that the step adds,
    and old types that come back. Mentions of all other old types are in the text, but have no label.

    A step may stop after any epoch and resume in another process. Only these survive: parameters, their
    ``requires_grad`` flags, buffers, and the tensors in ``carried``. At the end of a step a new learner is made from
    their values in the selected epoch. Create modules and buffers in ``__init__`` or ``grow``. All other attributes
    are reset, before each epoch and before ``end_step``, to their values after ``begin_step``. Draw random numbers
    from torch's global generators: they are seeded before a learner is made, and in each step before it grows.

    Attributes:
        settings: the method's hyper-parameters, as its card names them.
        recipe: the recipe's hyper-parameters, as ``corpora.card.HyperParameters`` names them.
        carried: tensors that the method keeps from step to step.
        memory: sentences that the method keeps from step to step; filled by ``keep`` (need ``memory``).
        grown: the types added by each step so far.
        step: 1..T, the step being learned.
        labelled: the types labelled in this step.
        n_old: the number of types that the previous step's model knew; they have the first columns.
        teaches: True for the copy that is a teacher.
    """

    architecture: str
    head: GrowingHead

    def __init__(
        self,
        encoder: Encoder,
        settings: Mapping[str, Any],
        dropout: float = 0.1,
        max_span_width: int = 0,
        recipe: Mapping[str, Any] = UNSTATED,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = dropout
        self.max_span_width = max_span_width
        self.settings = Settings(settings)
        self.recipe = recipe
        self.carried = Carried()
        self.memory = Memory()
        self.grown: list[tuple[str, ...]] = []
        self.autocast: torch.dtype | None = None
        self.teaches = False
        self.step = 0
        self.labelled: tuple[str, ...] = ()
        self.n_old = 0

    # Hooks: a method overrides these.

    @property
    def needs(self) -> frozenset[Need]:
        """Return the inputs that the suite supplies for this method.

        ``teacher``: ``losses`` receives the outputs of the previous step's selected model, from step 2 on.
        ``features``: the teacher's outputs hold its word vectors.
        ``layers``, ``attentions``: from step 2 on, outputs of the teacher, and of the student in training, hold hidden
        states or attentions of all layers.
        ``memory``: ``keep`` is called after each step, and ``memory`` gives batches of the sentences that it chose.
        ``all_embeddings``: the table of word embeddings stays whole during a step. By default it holds only the words
        of the step's train, dev and memory sentences, which is faster; then all other words can be embedded only
        without gradients.
        """
        return frozenset()

    def grow(self, types: Sequence[str], init: Init) -> None:
        """Add the head's columns for ``types``, and any modules of the method's own.

        Called in each step before ``begin_step`` (without types if the step adds none), and once per earlier step when
        a model is loaded. ``init`` returns the random generator for a name.
        """
        if types:
            self.head.grow(types, init)

    def make_head(self) -> GrowingHead:
        """Return an empty head. Called once, by the constructor."""
        raise NotImplementedError

    @property
    def trains(self) -> bool:
        """False for methods that do everything in ``begin_step`` and ``end_step``: the step then has no epochs."""
        return True

    def begin_step(self, step: Step) -> None:
        """Prepare the step: freeze, initialise, collect. Called after ``grow`` and before ``make_optimizer``."""

    def begin_epoch(self, epoch: int) -> None:
        """Prepare an epoch (1..epochs)."""

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        """Return named scalars whose sum is minimised. ``teacher`` has the old columns of the same words or spans."""
        raise NotImplementedError

    def base_losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        """Return the losses of a learner that does not override ``losses``.

        A plug-in that replaces these losses overrides this hook. Then the terms that other plug-ins add stay, in any
        order of the plug-ins.
        """
        raise NotImplementedError

    def parameter_groups(self, lr: float, head_lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """Return the optimiser's parameter groups; parameters that get no gradient are not updated.

        The default is SpanKL's four groups (arXiv 2302.12200): the encoder at ``lr`` and everything else at
        ``head_lr``, each with and without weight decay. Vectors (biases and layer norms) are not decayed, unless the
        recipe says so.
        """
        of_vectors = 1.0 if self.recipe["decayed"] == "all" else 0.0
        head_decay = self.recipe["head_weight_decay"]
        head_decay = weight_decay if head_decay is None else head_decay
        encoder = list(self.encoder.parameters())
        known = set(encoder)
        others = [p for p in self.parameters() if p not in known]
        return [
            {
                "params": [p for p in parameters if (p.ndim > 1) == matrices],
                "lr": rate,
                "weight_decay": decay if matrices else of_vectors * decay,
            }
            for parameters, rate, decay in ((others, head_lr, head_decay), (encoder, lr, weight_decay))
            for matrices in (True, False)
        ]

    def make_optimizer(self, groups: Sequence[Mapping[str, Any]]) -> Optimizer:
        """Return the optimiser of the step for ``parameter_groups``; by default it is the recipe's."""
        return SGD(groups) if self.recipe["optimizer"] == "sgd" else AdamW(groups)

    def rate(self, update: int, warmup: int, updates: int) -> float:
        """Return the factor on the learning rates at ``update`` (from 0): a warm-up, then the recipe's schedule."""
        return scheduled(self.recipe["schedule"], update, warmup, updates)

    def after_backward(self) -> None:
        """Change gradients. Called between the backward pass and clipping."""

    def select(self, score: float | None, dev: Iterable[tuple[Batch, Output]]) -> float | None:
        """Return the score of the epoch that just ended.

        The first epoch with the highest score is kept; if scores are None, the last epoch is. ``score`` is the
        protocol's dev score; it is None if the protocol keeps the last epoch or dev has no mention. ``dev`` yields dev
        batches with the model's output in evaluation mode; reading it computes the output.
        """
        return score

    def end_step(self, step: Step) -> None:
        """Finish the step: fuse weights, collect prototypes. The dev-selected weights are in place."""

    def keep(self, step: Step) -> Iterable[int]:
        """Return the ids of train sentences to remember with this step's labels. Called after ``end_step``.

        Only methods with the need ``memory`` are asked. The default draws, for each labelled type,
        ``settings["per_type"]`` sentences that mention it.
        """
        if "per_type" not in self.settings:
            raise UserError(
                f'{type(self).__name__} needs memory: add "per_type" (sentences to keep of each type) to the card\'s '
                "settings, or define keep"
            )
        wanted: dict[int, None] = {}
        order = torch.randperm(len(step.train)).tolist()
        for labelled in step.labelled:
            with_type = [i for i in order if any(m.type == labelled for m in step.train[i].mentions)]
            wanted |= dict.fromkeys(with_type[: self.settings["per_type"]])
        return [step.train[i].id for i in wanted]

    def open_loss(self, batch: Batch, output: Output) -> Tensor:
        """Return the base loss that leaves open, in each sentence, all types that were not labelled in it.

        In a sentence of the step, ``labelled`` were labelled; a remembered sentence has labelled types of its own.
        """
        raise NotImplementedError

    def log_likelihood(self, batch: Batch, output: Output) -> Tensor:
        """Return the log-likelihood of the step's labels, summed over rows; types without labels are left open.

        Methods that measure the importance of weights call this or ``drawn_log_likelihood``. A learner whose head has
        several softmaxes in a row overrides both.
        """
        raise NotImplementedError

    def drawn_log_likelihood(self, batch: Batch, output: Output) -> Tensor:
        """Return the log-likelihood, summed over rows, of labels drawn from the model's own prediction."""
        raise NotImplementedError

    def decode(
        self, output: Output, lengths: Sequence[int], types: Sequence[str], nested: bool
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
        """Return the logits of all known columns for a batch, and the other outputs that the method needs."""
        encoded = self._encode(batch) if batch.vectors is None else Encoding(batch.vectors)
        words = self.encoder.dropout(encoded.words, self.dropout if self.training else 0.0)
        with self._precision():
            return Output(self.head(words, batch.lengths), words, encoded.layers, encoded.attentions)

    def encode(self, batch: Batch) -> Tensor:
        """Return the encoder's word vectors ``[words, hidden]`` of a batch."""
        return self._encode(batch).words

    def _encode(self, batch: Batch) -> Encoding:
        traced = self.needs if self.n_old and (self.training or self.teaches) else frozenset()
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.encoder_frozen), self._precision():
            return self.encoder.encode(batch.tokens, "layers" in traced, "attentions" in traced)

    def outputs(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, Output]]:
        """Yield each batch with the model's output, in evaluation mode and without gradients."""
        training = self.training
        self.eval()
        try:
            for batch in batches:
                with torch.no_grad():
                    output = self(batch)
                yield batch, output
        finally:
            self.train(training)

    def _precision(self) -> AbstractContextManager[object]:
        return autocast(self.device, self.autocast)


class SpanLearner(Learner):
    """A learner that scores every span for every type; the types are independent of one another."""

    architecture = "span"

    def __init__(self, encoder: Encoder, *args: Any, **kwargs: Any) -> None:
        super().__init__(encoder, *args, **kwargs)
        self.head = self.make_head()

    def make_head(self) -> GrowingHead:
        return SpanHead(self.encoder.hidden_size, self.max_span_width, self.recipe["span_prior"])

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        return self.base_losses(batch, output, teacher)

    def base_losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        """Return binary cross-entropy on all columns: a span without a label is a negative, also for old types."""
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

    def open_loss(self, batch: Batch, output: Output) -> Tensor:
        """Return ``bce`` of only the types that were labelled in each sentence, mean over sentences."""
        total = output.logits.new_zeros(())
        for logits, example in zip(output.logits.split(self.rows(batch.lengths)), batch.examples, strict=True):
            types = self.labelled if example.labelled is None else example.labelled
            total = total + self.bce(Batch((example,), batch.device), Output(logits), types)
        return total / len(batch.examples)

    def log_likelihood(self, batch: Batch, output: Output) -> Tensor:
        return -len(batch.examples) * len(self.labelled) * self.open_loss(batch, output)

    def drawn_log_likelihood(self, batch: Batch, output: Output) -> Tensor:
        return of_drawn_columns(output.logits)

    def decode(
        self, output: Output, lengths: Sequence[int], types: Sequence[str], nested: bool
    ) -> list[list[Prediction]]:
        return decode_spans(output.logits[:, self.columns(types)], lengths, types, nested, self.max_span_width)


class TagLearner(Learner):
    """A learner that labels every word with a BIO tag, by one softmax over all known types."""

    architecture = "token"

    def __init__(self, encoder: Encoder, *args: Any, **kwargs: Any) -> None:
        super().__init__(encoder, *args, **kwargs)
        self.head = self.make_head()

    def make_head(self) -> GrowingHead:
        if self.recipe["head"] == "cosine":
            return CosineHead(self.encoder.hidden_size, scale=1.0)
        return TagHead(self.encoder.hidden_size)

    def targets(self, batch: Batch, teacher: Output | None) -> Tensor:
        """Return the tag of each word ``[words]``: a word without a label is O (0), even if it is of an old type."""
        return batch.tag_targets(self.head.types)

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        return self.base_losses(batch, output, teacher)

    def base_losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        """Return cross-entropy with ``targets`` on all words."""
        return {"ce": F.cross_entropy(output.logits, self.targets(batch, teacher))}

    def open_loss(self, batch: Batch, output: Output) -> Tensor:
        """Return cross-entropy that leaves unlabelled types open, mean over words.

        A word without a label is O or of a type that was not labelled in its sentence: its loss is minus the logarithm
        of their summed probability, as in MiB (Cermelli et al., CVPR 2020).
        """
        return open_ce(
            output.logits, batch.tag_targets(self.head.types), batch.open_tags(self.head.types, self.labelled)
        )

    def log_likelihood(self, batch: Batch, output: Output) -> Tensor:
        return -len(output.logits) * self.open_loss(batch, output)

    def drawn_log_likelihood(self, batch: Batch, output: Output) -> Tensor:
        return of_drawn_classes(output.logits)

    def rows(self, lengths: Sequence[int]) -> list[int]:
        return list(lengths)

    def decode(
        self, output: Output, lengths: Sequence[int], types: Sequence[str], nested: bool
    ) -> list[list[Prediction]]:
        decoded = decode_tags(output.logits, lengths, self.head.types)
        return [[p for p in sentence if p.type in types] for sentence in decoded]


def plugged(plug_in: type[Learner], base: type[Learner]) -> type[Learner]:
    """Return ``base`` with the hooks of a plug-in in front of its own, and with the needs of both.

    A base that derives from the plug-in has these hooks already, and is returned as it is.
    """
    if issubclass(base, plug_in):
        return base

    def needs(learner: Learner) -> frozenset[Need]:
        found: list[Any] = [plug_in.needs, base.needs]  # properties, or constants of the class
        return frozenset().union(*(n.__get__(learner) if isinstance(n, property) else n for n in found))

    return type(f"{plug_in.__name__}{base.__name__}", (plug_in, base), {"needs": property(needs)})
