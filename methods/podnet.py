"""PODNet for tagging: hidden states of unlabelled words keep their pooled values in all layers."""

CARD = {
    "podnet": {
        "label": "PODNet",
        "class": "PODNet",
        "architecture": "token",
        "first_step": "base",
        "settings": {"margin": 0.6, "flat_weight": 1.0, "spatial_weight": 1.0, "compat": False},
        "search": {"flat_weight": {"times": [0.1, 10]}, "spatial_weight": {"times": [0.1, 10]}},
        "help": {
            "margin": "margin of the loss",
            "flat_weight": "weight of the distance of word vectors from the previous model's",
            "spatial_weight": "weight of the pooled distance of hidden states from the previous model's",
            "compat": "true: as in the released code, including its faults (see deviations)",
        },
        "paper": "Douillard et al., PODNet: Pooled Outputs Distillation for Small-Tasks Incremental Learning, ECCV "
        "2020, as adapted to NER in CFNER's code (EMNLP 2022)",
        "year": 2020,
        "status": "re-implementation",
        "summary": "NCA loss on labelled words + cosine distance of word vectors + pooled distance of all hidden "
        "states.",
        "stores": "one copy of the model",
        "deviations": "The margin is subtracted from the label's logit only; in the releases it cancels. The spatial "
        "term has a gradient; in CFNER's code it has none. With compat, both are as released. There are no exemplars. "
        "Only the recipe cfner adds the cosine head, frozen old rows, imprinted new rows and SGD. Without it, "
        "unlabelled words become new types and old types are lost (docs/findings.md).",
    }
}

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from cl_ner_bench.learning.learner import Batch, Output, TagLearner


class PODNet(TagLearner):
    """NCA(labelled words) + flat_weight * sqrt(old / new columns) * (1 - cos) + spatial_weight * spatial.

    NCA is max(0, -(z_y - margin) + ln sum over i != y of exp(z_i)). The other terms run over unlabelled words. Spatial
    is the mean over layers (embeddings included) of |sum of unit(h) - sum of unit(h_T)|.
    """

    needs = frozenset({"teacher", "features", "layers"})

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        if teacher is None or output.words is None or teacher.words is None:
            return super().losses(batch, output, teacher)
        target = self.targets(batch, teacher)
        labelled, n_old = target > 0, teacher.logits.shape[1]
        losses = {}
        if labelled.any():
            losses["nca"] = self._nca(output.logits[labelled], target[labelled]).mean()
        if not labelled.all():
            o, n_new = ~labelled, max(1, output.logits.shape[1] - n_old)
            flat = (1 - F.cosine_similarity(output.words[o], teacher.words[o])).mean()
            losses["flat"] = self.settings["flat_weight"] * math.sqrt(n_old / n_new) * flat
            spatial = [
                (F.normalize(ours[o]).sum(1) - F.normalize(theirs[o]).sum(1)).abs().mean()
                for ours, theirs in zip(output.layers, teacher.layers, strict=True)
            ]
            losses["spatial"] = self.settings["spatial_weight"] * torch.stack(spatial).mean()
            if self.settings["compat"]:
                losses["spatial"] = losses["spatial"].detach()
        return losses

    def _nca(self, logits: Tensor, target: Tensor) -> Tensor:
        if self.settings["compat"]:  # all columns have the margin, so it cancels; among the others the label counts 1
            logits = logits - logits.amax(1, keepdim=True)
        own = logits.gather(1, target[:, None])[:, 0]
        if self.settings["compat"]:
            return logits.scatter(1, target[:, None], 0.0).logsumexp(1) - own
        others = logits.scatter(1, target[:, None], float("-inf")).logsumexp(1)
        return F.relu(self.settings["margin"] - own + others)
