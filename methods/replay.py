"""Experience replay: a batch of remembered sentences beside each batch of new ones."""

CARD = {
    "variants": {
        "replay-token": {"label": "Replay (token)", "class": "ReplayToken", "architecture": "token"},
        "replay-span": {"label": "Replay (span)", "class": "ReplaySpan", "architecture": "span"},
    },
    "group": "exemplar",
    "settings": {"per_type": 5, "replay_weight": 1.0},
    "paper": "Chaudhry et al., On Tiny Episodic Memories in Continual Learning, arXiv 1902.10486",
    "year": 2019,
    "status": "re-implementation",
    "summary": "Loss of the new sentences + loss of as many remembered ones, each on the types labelled in it.",
    "stores": "per_type sentences of each type",
    "deviations": "Each sentence, new or remembered, is learned with the types that were labelled in it and no "
    "others: an unlabelled word is O or of another type (token), other columns have no loss (span). Random choice of "
    "sentences.",
}

from torch import Tensor

from cl_ner_bench.learning.learner import Batch, Output, SpanLearner, TagLearner


class ReplayToken(TagLearner):
    """Open CE of the batch + replay_weight * open CE of an equally large batch from memory."""

    needs = frozenset({"memory"})

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        losses = {"ce": self.open_loss(batch, output)}
        if remembered := self.memory.draw(len(batch.examples)):
            losses["replay"] = self.settings["replay_weight"] * self.open_loss(remembered, self(remembered))
        return losses


class ReplaySpan(SpanLearner):
    """BCE on the labelled columns + replay_weight * the same of an equally large batch from memory."""

    needs = frozenset({"memory"})

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        losses = {"bce": self.bce(batch, output, self.labelled)}
        if remembered := self.memory.draw(len(batch.examples)):
            losses["replay"] = self.settings["replay_weight"] * self.open_loss(remembered, self(remembered))
        return losses
