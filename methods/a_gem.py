"""A-GEM: a gradient that would raise the loss of the memory is projected."""

CARD = {
    "a-gem": {
        "label": "A-GEM",
        "class": "AGEM",
        "architecture": "any",
        "group": "exemplar",
        "settings": {"per_type": 5, "exemplar_choice": "random"},
        "help": {
            "per_type": "number of remembered sentences of each type",
            "exemplar_choice": "how remembered sentences are chosen: random, reservoir or herding (iCaRL)",
        },
        "paper": "Chaudhry et al., Efficient Lifelong Learning with A-GEM, ICLR 2019, arXiv 1812.00420",
        "year": 2019,
        "status": "re-implementation",
        "summary": "If the gradient points against the gradient of a batch from memory, the opposing part is removed.",
        "stores": "per_type sentences of each type",
        "deviations": "Sentences are chosen and learned as in replay. The projection comes before clipping and AdamW, "
        "whose update is not a multiple of the gradient. No setting was tuned. Expected: below replay, because the "
        "memory is protected but never learned.",
    },
}

from collections.abc import Sequence

import torch
from torch import Tensor

from cl_ner_bench.learning.learner import Batch, Output

from .replay import Remembering


class AGEM(Remembering):
    """The loss of the batch; if g . g_ref < 0, its gradient g becomes g - (g . g_ref / ||g_ref||^2) g_ref.

    g_ref is the gradient of the open loss of an equally large batch from memory.
    """

    remembered: Batch | None

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        self.remembered = self.memory.draw(len(batch.examples))
        return super().losses(batch, output, teacher)

    def after_backward(self) -> None:
        super().after_backward()
        if self.remembered:
            learning = [p for p in self.parameters() if p.grad is not None]
            loss = self.open_loss(self.remembered, self(self.remembered))
            reference = torch.autograd.grad(loss, learning, allow_unused=True, materialize_grads=True)
            project([p.grad for p in learning if p.grad is not None], reference)


def project(gradients: Sequence[Tensor], reference: Sequence[Tensor]) -> None:
    """Remove from ``gradients``, in place, their component along ``reference`` if it points the other way."""
    product = torch.stack([(g * r).sum() for g, r in zip(gradients, reference, strict=True)]).sum()
    if product < 0:
        factor = product / torch.stack([r.square().sum() for r in reference]).sum()
        for g, r in zip(gradients, reference, strict=True):
            g.sub_(factor * r)
