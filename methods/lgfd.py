"""LGFD: CPFD's pseudo-labels; hidden states and class means of the previous model are distilled."""

CARD = {
    "lgfd": {
        "label": "LGFD",
        "class": "LGFD",
        "architecture": "token",
        "first_step": "base",
        "settings": {
            "kd_weight": 2.0,
            "floor": 0.001,
            "min_factor": 0.0,
            "contrast_weight": 0.01,
            "contrast_temperature": 0.07,
            "compat": False,
        },
        "search": {"kd_weight": {"times": [0.1, 10]}, "contrast_weight": {"times": [0.1, 10]}},
        "help": {
            "kd_weight": "weight of distillation from the previous model",
            "floor": "lower bound of the threshold for the entropy of pseudo-labels",
            "min_factor": "lowest weight of a sentence with few accepted pseudo-labels",
            "contrast_weight": "weight of the contrast of class means",
            "contrast_temperature": "temperature of the contrast of class means",
            "compat": "true: as in the released code, including its faults (see deviations)",
        },
        "paper": "as in the code beside Liu et al., Federated Incremental Named Entity Recognition, arXiv 2411.11623",
        "year": 2024,
        "status": "re-implementation",
        "summary": "CE with confident pseudo-labels + KL, distance of hidden states and contrast of class means to the "
        "previous model.",
        "stores": "one copy of the model",
        "deviations": "LGFD is built from a description of the code, without values to check it against. Classes are "
        "BIO tags; the authors' code cuts tags at the number of types. There is no federation. Pseudo-labels and "
        "compat are as in cpfd. Only the recipe cfner adds the cosine head and SGD.",
    }
}

import torch
import torch.nn.functional as F
from cl_ner_bench.methods.cpfd import CPFD
from torch import Tensor

from cl_ner_bench.learning.learner import Output


class LGFD(CPFD):
    """CE as in CPFD without type weights + w * (KL + mean squared distance of hidden states + contrast_weight * C).

    w = kd_weight * sqrt((old columns - 1) / new columns). KL and distances (means over layers, embeddings included)
    run over unlabelled words. C is the contrast of class means.
    """

    needs = frozenset({"teacher", "features", "layers"})

    def type_weight(self, old: Tensor, new: Tensor) -> Tensor | float:
        return 1.0

    def state_losses(self, output: Output, teacher: Output, target: Tensor, unlabelled: Tensor) -> dict[str, Tensor]:
        assert output.words is not None
        assert teacher.words is not None
        losses = {}
        if unlabelled.any():
            pairs = zip(output.layers, teacher.layers, strict=True)
            distances = [F.mse_loss(ours[unlabelled], theirs[unlabelled]) for ours, theirs in pairs]
            losses["layers"] = torch.stack(distances).mean()
        if (target >= 0).any():
            contrast = class_contrast(output.words, teacher.words, target, self.settings["contrast_temperature"])
            losses["contrast"] = self.settings["contrast_weight"] * contrast
        return losses


def class_contrast(student: Tensor, teacher: Tensor, target: Tensor, temperature: float) -> Tensor:
    """Return the mean over tags c of -ln softmax(s_c . m / T) at m = t_c; m runs over all class means except s_c.

    The class means s_c (student) and t_c (teacher) are the means of the unit word vectors of tag c, scaled to unit
    length; negative tags are left out.
    """
    tags = target[target >= 0].unique()
    member = (target == tags[:, None]).to(student.dtype)
    ours, theirs = (F.normalize(member @ F.normalize(words)) for words in (student, teacher))
    among_ours = (ours @ ours.T / temperature).fill_diagonal_(float("-inf"))
    similarity = torch.cat([ours @ theirs.T / temperature, among_ours], dim=1)
    return F.cross_entropy(similarity, torch.arange(len(tags), device=tags.device))
