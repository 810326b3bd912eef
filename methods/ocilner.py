"""OCILNER: contrastive learning separates the types that O hides, and the nearest class mean decodes."""

CARD = {
    "architecture": "token",
    "year": 2023,
    "group": "exemplar",
    "status": "re-implementation",
    "stores": "one copy of the model, 5 sentences of each type and 20 without mentions, a mean vector of each type",
    "settings": {
        "per_type": 5,
        "without_mentions": 20,
        "first_phase": 0.625,
        "kd_temperature": 2.0,
        "factor": 0.98,
        "factor_step": 0.05,
        "compat": False,
    },
    "help": {
        "per_type": "number of remembered sentences of each type",
        "without_mentions": "number of remembered sentences without mentions",
        "first_phase": "share of the epochs in which only types are contrasted",
        "kd_temperature": "temperature of distillation",
        "factor": "threshold of relabelling, as a share of the lowest similarity within a type",
        "factor_step": "decrease of that share with each step since the type was learned",
        "compat": "true: as in the released code, including its faults (see deviations)",
    },
    "variants": {
        "ocilner": {
            "label": "OCILNER",
            "class": "OCILNER",
            "paper": "Ma et al., Learning 'O' Helps for Learning More: Handling the Unlabeled Entity Problem for "
            "Class-incremental NER, ACL 2023",
            "summary": "Contrast of types, later also of O; words near an old type's mean count as that type; "
            "prediction by the nearest class mean.",
            "deviations": "Special tokens and padding are left out; in the release they are a class of the contrasts, "
            "and in KD. A relabelled word is not a positive of O, and remembered mentions keep their type; with "
            "compat, both are as released. Memory sentences are drawn beside each batch. Similarities for the "
            "threshold are computed without dropout. Encoder, optimiser and epochs are the recipe's; the phases are "
            "shares of the epochs (10 and 6 of 16). As released, the last epoch is kept.",
        },
        "ocilner-codebase": {
            "label": "OCILNER (code base)",
            "class": "CodebaseOCILNER",
            "paper": "Ma et al., ACL 2023, as in the code base of Zheng et al., ACL 2024, arXiv 2312.07887",
            "summary": "OCILNER without projection, with one threshold, and with pseudo-labels that are one too low.",
            "deviations": "Relabelling and contrast are that code base's, on this suite's tags (one for each type). "
            "The teacher has no dropout. Class means are stored, not computed again for each evaluation.",
        },
    },
}

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cl_ner_bench.learning.contrast import (
    TEMPERATURE,
    Vectors,
    class_means,
    least_similarity,
    median_similarity,
    open_contrast,
    type_contrast,
)
from cl_ner_bench.learning.learner import Batch, Output, Prediction, Step, TagLearner
from cl_ner_bench.models.decoding import decode_tags
from cl_ner_bench.models.heads.growing import GrowingHead
from cl_ner_bench.models.heads.type import TypeHead, with_begins
from cl_ner_bench.models.losses import categorical_kl

PROJECTED = 128
CHUNK = 32
"""The number of remembered sentences in an evaluation batch."""


class OCILNER(TagLearner):
    """First phase: contrast of types + CE(labelled words) + KD. Second: contrast with O + BCE of all columns but O.

    Contrasts run over projected unit vectors of the batch and of memory sentences. In step 1 the first phase has CE of
    all words. KD covers only the student's old columns, at temperature ``kd_temperature``. The targets of BCE are the
    labels of the batch's labelled words, and sigmoid(teacher) for all others.

    For contrasts only, an unlabelled word takes the old type whose mean is nearest to its vector in the previous model,
    if their cosine exceeds (factor - factor_step * age) times the least cosine of the type's remembered words. In the
    contrast with O, two words of O attract each other if they are more similar than the words of a median type.
    """

    needs = frozenset({"teacher", "features", "memory"})

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.projection = self.make_projection()

    def make_head(self) -> GrowingHead:
        return TypeHead(self.encoder.hidden_size)

    def make_projection(self) -> nn.Module:
        """Return the module between word vectors and the contrasts."""
        hidden = self.encoder.hidden_size
        return nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, PROJECTED))

    def targets(self, batch: Batch, teacher: Output | None) -> Tensor:
        """Return the type of each word ``[words]``, from 1; 0: O."""
        return (batch.tag_targets(self.head.types) + 1) // 2

    def begin_step(self, step: Step) -> None:
        if "means" in self.carried:
            del self.carried["means"]  # the previous model's; until the step ends, the classifier decodes
        self.chosen = frozenset(self._chosen(step))
        self.examples = step.batch(i for i, s in enumerate(step.train) if s.id in self.chosen)
        self.train_size, self.previous = len(step.train), step.teacher
        self.second_phase = 1 + round(self.settings["first_phase"] * step.epochs)
        self.threshold: float | None = None
        if step.teacher is not None:
            parts = [self._vectors(batch, step.teacher(batch)) for batch in self._remembered()]
            n_old = 1 + self.n_old
            self.means = class_means(parts, n_old, self.encoder.hidden_size)
            self.thresholds = self.relabel_thresholds(least_similarity(parts, self.means))

    def begin_epoch(self, epoch: int) -> None:
        if epoch >= self.second_phase:
            parts = [self._vectors(*pair) for pair in self.outputs((*self._remembered(), self.examples))]
            unit = torch.cat([self.projected(words) for words, _ in parts])
            self.threshold = median_similarity(unit, torch.cat([labels for _, labels in parts]))

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        labels = self.targets(batch, teacher)
        new = labels > 0
        share = len(batch.examples) / self.train_size
        if self.previous is not None and (remembered := self.memory.draw(math.ceil(share * len(self.memory)))):
            assert teacher is not None
            output, teacher = joined(output, self(remembered)), joined(teacher, self.previous(remembered))
            labels = torch.cat([labels, self.targets(remembered, teacher)])
            new = F.pad(new, (0, len(labels) - len(new)))
        losses = {"contrast": self.contrast(output, teacher, labels, new)}
        if self.threshold is not None:
            return losses | {"bce": typed_bce(output.logits, labels, new, teacher)}
        if teacher is None:
            return losses | {"ce": F.cross_entropy(output.logits, labels)}
        if new.any():
            losses["ce"] = F.cross_entropy(output.logits[new], labels[new])
        if not new.all():
            old = output.logits[~new, : teacher.logits.shape[1]]
            losses["kd"] = categorical_kl(teacher.logits[~new], old, self.settings["kd_temperature"]).mean()
        return losses

    def contrast(self, output: Output, teacher: Output | None, labels: Tensor, new: Tensor) -> Tensor:
        """Return the contrast of words; words without a label have pseudo-labels."""
        assert output.words is not None
        known = labels
        if teacher is not None and teacher.words is not None:
            known = self.relabelled(teacher.words, labels, ~new if self.settings["compat"] else labels == 0)
        unit = self.projected(output.words)
        if self.threshold is None:
            return type_contrast(unit, known)
        return open_contrast(unit, known, (labels if self.settings["compat"] else known) == 0, self.threshold)

    def projected(self, words: Tensor) -> Tensor:
        """Return the unit vectors of words that contrasts compare."""
        return F.normalize(self.projection(words))

    def relabelled(self, words: Tensor, labels: Tensor, eligible: Tensor) -> Tensor:
        """Return the labels; an ``eligible`` word takes the nearest old type if that is near enough."""
        similarity = F.normalize(words) @ self.means.T
        similarity[:, 0] = 0
        nearest, type = similarity.max(1)
        return type.where(eligible & (nearest > self.thresholds[type]), labels)

    def relabel_thresholds(self, least: Tensor) -> Tensor:
        """Return the cosine above which a word takes each old type (0: O), from the type's ``least`` cosine."""
        ages = [0.0] + [float(len(self.grown) - 1 - k) for k, types in enumerate(self.grown) for _ in types]
        factors = self.settings["factor"] - self.settings["factor_step"] * torch.tensor(ages[: len(least)]).to(least)
        factors[0] = 1.0
        return least * factors.clamp(min=0)

    def select(self, score: float | None, dev: Iterable[tuple[Batch, Output]]) -> float | None:
        """Keep the last epoch, as in the release."""
        return None

    def end_step(self, step: Step) -> None:
        parts = (self._vectors(*pair) for pair in self.outputs((*step.batches(), *self._remembered())))
        self.carried["means"] = class_means(parts, self.n_columns, self.encoder.hidden_size)

    def keep(self, step: Step) -> Iterable[int]:
        return [s.id for s in step.train if s.id in self.chosen]

    def decode(
        self, output: Output, lengths: Sequence[int], types: Sequence[str], nested: bool
    ) -> list[list[Prediction]]:
        scores = output.logits
        if "means" in self.carried and output.words is not None:
            means = self.carried["means"]
            scores = F.normalize(output.words) @ means.T / TEMPERATURE
            scores = scores.masked_fill(~means.any(1), float("-inf"))  # a type without words
        decoded = decode_tags(with_begins(scores, lengths), lengths, self.head.types)
        return [[p for p in sentence if p.type in types] for sentence in decoded]

    def _chosen(self, step: Step) -> Iterator[int]:
        """Yield the ids to remember: sentences of each type, and some without mentions until memory holds enough."""
        yield from super().keep(step)
        kept = self.memory.batch(range(len(self.memory))).examples
        wanted = self.settings["without_mentions"] - sum(not e.sentence.mentions for e in kept)
        without = [s.id for s in step.train if not s.mentions]
        yield from (without[i] for i in torch.randperm(len(without)).tolist()[: max(0, wanted)])

    def _remembered(self) -> Iterator[Batch]:
        for start in range(0, len(self.memory), CHUNK):
            yield self.memory.batch(range(start, min(start + CHUNK, len(self.memory))))

    def _vectors(self, batch: Batch, output: Output) -> Vectors:
        assert output.words is not None
        return output.words, self.targets(batch, None)


class CodebaseOCILNER(OCILNER):
    """OCILNER without projection, with one threshold for all types, and with pseudo-labels one too low."""

    def make_projection(self) -> nn.Module:
        return nn.Identity()

    def relabelled(self, words: Tensor, labels: Tensor, eligible: Tensor) -> Tensor:
        found = super().relabelled(words, labels, labels == 0)
        return found.where(found == labels, found - 1)

    def relabel_thresholds(self, least: Tensor) -> Tensor:
        return torch.full_like(least, self.settings["factor"] * least[1:].min().item())


def typed_bce(logits: Tensor, labels: Tensor, new: Tensor, teacher: Output | None) -> Tensor:
    """Return BCE of all columns but O, mean over words and columns; the teacher labels words that are not ``new``."""
    target = F.one_hot(labels, logits.shape[1]).to(logits.dtype)
    if teacher is not None:
        soft = F.pad(teacher.logits.sigmoid(), (0, logits.shape[1] - teacher.logits.shape[1]))
        target = torch.where(new[:, None], target, soft)
    return F.binary_cross_entropy_with_logits(logits[:, 1:], target[:, 1:])


def joined(first: Output, second: Output) -> Output:
    """Return the outputs of two batches as one."""
    assert first.words is not None
    assert second.words is not None
    return Output(torch.cat([first.logits, second.logits]), torch.cat([first.words, second.words]))
