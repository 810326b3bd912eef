"""Frozen-encoder baselines without a teacher: learn features on the first task, then only new classifiers."""

CARD = {
    "settings": {"warmup_epochs": 3},
    "stores": "nothing",
    "group": "closed-form",
    "variants": {
        "seqstar": {
            "label": "SEQ*",
            "class": "SeqStar",
            "architecture": "token",
            "paper": "Zheng et al., Learn or Recall? Revisiting Incremental Learning with Pre-trained Language "
            "Models, ACL 2024, arXiv 2312.07887",
            "year": 2024,
            "status": "re-implementation",
            "summary": "SEQ* (W+FixBC+Lin): encoder frozen after 3 epochs of task 1, old rows frozen, CE on all words.",
            "deviations": "The row of O belongs to the first classifier and is frozen with it. The frozen encoder "
            "runs without dropout; with fewer than 3 epochs it is frozen from task 2 on. The recipe's optimiser, "
            "epochs and dev selection are used. BIO-constrained decoding.",
        },
        "frozen-span": {
            "label": "Frozen encoder (span)",
            "class": "FrozenSpan",
            "architecture": "span",
            "status": "baseline",
            "summary": "The span twin of SEQ*: encoder frozen after 3 epochs of task 1, BCE on the new columns only.",
        },
    },
}

from torch import Tensor

from cl_ner_bench.learning.learner import Batch, Learner, Output, SpanLearner, Step, TagLearner


class FrozenEncoder(Learner):
    """Freezes the encoder once ``warmup_epochs`` of step 1 are over, and in later steps every old column.

    Columns that grew together learn again where one of their types comes back.
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


class FrozenSpan(FrozenEncoder, SpanLearner):
    """BCE on the new columns: the old ones have nothing left that could learn."""

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        return {"bce": self.bce(batch, output, self.labelled)}
