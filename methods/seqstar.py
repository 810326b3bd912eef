"""Frozen-encoder baselines without a teacher: learn features on the first task, then only new classifiers."""

CARD = {
    "settings": {"warmup_epochs": 3},
    "stores": "nothing",
    "group": "closed-form",
    "paper": "Zheng et al., Learn or Recall? Revisiting Incremental Learning with Pre-trained Language Models, ACL "
    "2024, arXiv 2312.07887",
    "year": 2024,
    "status": "re-implementation",
    "help": {"warmup_epochs": "epochs of step 1 in which the encoder learns"},
    "variants": {
        "seqstar": {
            "label": "SEQ*",
            "class": "SeqStar",
            "architecture": "token",
            "summary": "SEQ* (W+FixBC+Lin): CE on all words; encoder frozen after 3 epochs of task 1, old rows frozen.",
            "deviations": "The row of O belongs to the first classifier and is frozen with it. The frozen encoder runs "
            "without dropout; with fewer than 3 epochs it is frozen from task 2 on. Optimiser, epochs and dev "
            "selection are the recipe's. Decoding is BIO-constrained.",
        },
        "seq-fixbc": {
            "label": "SEQ (FixBC)",
            "class": "SeqStar",
            "architecture": "token",
            "settings": {"warmup_epochs": 0},
            "search": {"lr": None},
            "summary": "SEQ* without its warm-up: the pretrained encoder never learns.",
            "deviations": "As seqstar.",
        },
        "seq-fixc": {
            "label": "SEQ (FixC)",
            "class": "SeqFixedRows",
            "architecture": "token",
            "first_step": "base",
            "group": "memory-free",
            "settings": {},
            "summary": "CE on all words; old rows are frozen, the encoder keeps learning.",
            "deviations": "The row of O belongs to the first classifier and is frozen with it. Optimiser, epochs and "
            "dev selection are the recipe's. Decoding is BIO-constrained.",
        },
        "seq-cos": {
            "label": "SEQ* (Cos)",
            "class": "SeqCosine",
            "architecture": "token",
            "summary": "SEQ* (W+FixBC+Cos): as seqstar, with logits that are cosines.",
            "deviations": "As seqstar. The released head divides by norms over the words of a padded batch, which "
            "depends on padding; here it divides by a word's own norm. Without a scale, cosines learn slowly: after "
            "few updates new types stay at 0.",
        },
        "seq-prototype": {
            "label": "SEQ* (prototypes)",
            "class": "SeqPrototype",
            "architecture": "token",
            "summary": "As seq-cos, but a tag's row is the mean vector of its words, and nothing is trained after "
            "task 1.",
            "deviations": "As seqstar, but the last epoch is kept. Cosines are this suite's choice. An I- tag without "
            "words takes the row of its B- tag.",
        },
        "frozen-span": {
            "label": "Frozen encoder (span)",
            "class": "FrozenSpan",
            "architecture": "span",
            "paper": "",
            "year": 0,
            "status": "baseline",
            "summary": "The span twin of SEQ*: BCE on the new columns only; encoder frozen after 3 epochs of task 1.",
        },
    },
}

from collections.abc import Iterable

from torch import Tensor

from cl_ner_bench.learning.learner import Batch, Learner, Output, SpanLearner, Step, TagLearner
from cl_ner_bench.learning.tag_means import tag_means
from cl_ner_bench.models.heads.cosine import CosineHead


class FrozenEncoder(Learner):
    """A learner that freezes the encoder after ``warmup_epochs`` of step 1, and the old columns in later steps.

    Columns that grew together learn again if one of their types comes back.
    """

    def begin_step(self, step: Step) -> None:
        if step.step > 1:
            self.freeze_encoder()
            self.head.freeze_unlabelled(step.labelled)

    def begin_epoch(self, epoch: int) -> None:
        if epoch > self.settings["warmup_epochs"]:
            self.freeze_encoder()


class SeqStar(FrozenEncoder, TagLearner):
    """CE on all words over all tags so far; only the rows of the new types learn."""


class SeqFixedRows(TagLearner):
    """CE on all words over all tags so far; the encoder and the rows of the new types learn."""

    def begin_step(self, step: Step) -> None:
        if step.step > 1:
            self.head.freeze_unlabelled(step.labelled)


class SeqCosine(SeqStar):
    """CE on all words over all tags so far; the logits are cosines."""

    head: CosineHead

    def make_head(self) -> CosineHead:
        return CosineHead(self.encoder.hidden_size)


class SeqPrototype(SeqCosine):
    """cos(word, mean vector of the tag's train words); O's mean is from step 1, in which CE trains the encoder."""

    @property
    def trains(self) -> bool:
        return self.step == 1

    def select(self, score: float | None, dev: Iterable[tuple[Batch, Output]]) -> None:
        """Keep the last epoch, because dev scores a classifier that is then replaced."""

    def end_step(self, step: Step) -> None:
        means = tag_means(self, step.batches())
        self.head.set_rows({tag: mean for tag, mean in means.items() if tag or step.step == 1})


class FrozenSpan(FrozenEncoder, SpanLearner):
    """BCE on the new columns; nothing in the old columns can learn."""

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        return {"bce": self.bce(batch, output, self.labelled)}
