"""LUCIR for tagging: features of unlabelled words stay in place, and O keeps a margin over new tags."""

CARD = {
    "lucir": {
        "label": "LUCIR",
        "class": "LUCIR",
        "architecture": "token",
        "first_step": "base",
        "settings": {"feature_weight": 50.0, "margin": 0.5, "margin_weight": 1.0},
        "search": {"feature_weight": {"times": [0.1, 10]}},
        "help": {
            "feature_weight": "weight of the distance of word vectors from the previous model's",
            "margin": "margin of the loss",
            "margin_weight": "weight of the margin loss",
        },
        "paper": "Hou et al., Learning a Unified Classifier Incrementally via Rebalancing, CVPR 2019, as adapted to "
        "NER in CFNER's code (EMNLP 2022)",
        "year": 2019,
        "status": "re-implementation",
        "summary": "CE on labelled words + cosine distance to the previous model's word vectors + margin of O over new "
        "tags.",
        "stores": "one copy of the model",
        "deviations": "The losses are those of CFNER's code. There are no exemplars, as in that code. Only the recipe "
        "cfner adds the cosine head, frozen old rows, imprinted new rows and SGD. Without it, old types are lost "
        "(docs/findings.md).",
    }
}

import math

import torch.nn.functional as F
from torch import Tensor

from cl_ner_bench.learning.learner import Batch, Output, TagLearner


class LUCIR(TagLearner):
    """CE(labelled words) + w * mean(1 - cos(h, h_T)) + margin_weight * mean(max(0, margin - z_label + max new z)).

    w = feature_weight * sqrt(old columns / new columns). The first mean runs over unlabelled words. The second mean
    runs over these (their label is O) and over words that are labelled with an old type.
    """

    needs = frozenset({"teacher", "features"})

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        if teacher is None or output.words is None or teacher.words is None:
            return super().losses(batch, output, teacher)
        target = self.targets(batch, teacher)
        labelled, n_old = target > 0, teacher.logits.shape[1]
        new, known = output.logits[:, n_old:], target < n_old
        losses = {}
        if labelled.any():
            losses["ce"] = F.cross_entropy(output.logits[labelled], target[labelled])
        if not labelled.all():
            o = ~labelled
            weight = self.settings["feature_weight"] * math.sqrt(n_old / max(1, new.shape[1]))
            losses["features"] = weight * (1 - F.cosine_similarity(output.words[o], teacher.words[o])).mean()
        if new.shape[1] and known.any():
            own = output.logits[known].gather(1, target[known, None])[:, 0]
            margin = F.relu(self.settings["margin"] - own + new[known].amax(1))
            losses["margin"] = self.settings["margin_weight"] * margin.mean()
        return losses
