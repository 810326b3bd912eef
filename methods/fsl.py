"""FSL's loss without federation: RDP's pseudo-labels with refined prototypes, and relations between class means."""

CARD = {
    "fsl": {
        "label": "FSL",
        "class": "FSL",
        "architecture": "token",
        "first_step": "base",
        "settings": {"kd_weight": 2.0, "relation_weight": 0.5, "neighbours": 100},
        "search": {"kd_weight": {"times": [0.1, 10]}, "relation_weight": {"times": [0.1, 10]}},
        "help": {
            "kd_weight": "weight of distillation from the previous model",
            "relation_weight": "weight of the distance from the soft labels of each tag",
            "neighbours": "number of nearest words",
        },
        "paper": "Liu et al., Federated Incremental Named Entity Recognition, arXiv 2411.11623",
        "year": 2024,
        "status": "from the paper",
        "summary": "CE with pseudo-labels from refined prototypes + KL to the previous model + KL of class means to "
        "soft labels.",
        "stores": "one copy of the model",
        "deviations": "One client holds all data, so there is no federation and no detection of new tasks. Each "
        "prototype is refined with words of its own tag. The soft labels of class means are RDP's, which have no "
        "zeros; with the paper's zeros the divergence would be infinite. Only the recipe cfner adds the cosine head "
        "and SGD.",
    }
}

import torch
import torch.nn.functional as F
from cl_ner_bench.methods.rdp import RDP
from torch import Tensor

from cl_ner_bench.learning.learner import Batch, Output, Step


class FSL(RDP):
    """CE(all words) + kd_weight * KL(unlabelled) + relation_weight * mean over tags k of KL(P_k || Y_k).

    Pseudo-labels are RDP's, but each prototype is replaced by the mean of the ``neighbours`` words of its tag nearest
    to it. P_k is the student's mean distribution over the batch's words with the label or pseudo-label k; Y_k is the
    mean of RDP's soft labels over the same words.
    """

    def begin_step(self, step: Step) -> None:
        super().begin_step(step)
        if step.teacher is None:
            return
        nearest: dict[int, Tensor] = {}
        for batch in step.batches():
            teacher = step.teacher(batch)
            assert teacher.words is not None
            unlabelled = batch.tag_targets(self.head.types) == 0
            tags, words = teacher.logits[unlabelled].argmax(1), teacher.words[unlabelled]
            for tag in tags.unique().cpu().tolist():
                found = words[tags == tag]
                found = torch.cat([nearest[tag], found]) if tag in nearest else found
                distance = (found - self.prototypes[tag]).norm(dim=1)
                nearest[tag] = found[distance.argsort(stable=True)[: self.settings["neighbours"]]]
        for tag, found in nearest.items():
            self.prototypes[tag] = found.mean(0)

    def relation_losses(self, batch: Batch, output: Output, teacher: Output) -> dict[str, Tensor]:
        target = self.targets(batch, teacher)
        tags = target.unique()
        member = (target == tags[:, None]).to(output.logits.dtype)
        member = member / member.sum(1, keepdim=True)
        student = (member @ F.softmax(output.logits, dim=1)).log()
        soft = (member @ self.soft_labels(batch, output, teacher)).log()
        divergence = (student.exp() * (student - soft)).sum(1).mean()
        return {"relation": self.settings["relation_weight"] * divergence}
