"""GDumb: each step trains a new model on the memory alone."""

CARD = {
    "gdumb": {
        "label": "GDumb",
        "class": "GDumb",
        "architecture": "any",
        "group": "exemplar",
        "composes": False,
        "settings": {"per_type": 5, "exemplar_choice": "random"},
        "help": {
            "per_type": "number of remembered sentences of each type",
            "exemplar_choice": "how remembered sentences are chosen: random, reservoir or herding (iCaRL)",
        },
        "paper": "Prabhu et al., GDumb: A Simple Approach that Questions Our Progress in Continual Learning, ECCV 2020",
        "year": 2020,
        "status": "re-implementation",
        "summary": "Each step starts from the pretrained encoder and learns only the remembered sentences.",
        "stores": "per_type sentences of each type",
        "deviations": "Each type has a budget, instead of one budget for all types. A step has as many updates as "
        "batches of new sentences. Each draws a batch from the memory, which already holds the step's own choice. The "
        "optimiser is the recipe's, without cutmix. Sentences are learned as in replay. GDumb replaces a method's "
        "losses, so there is no gdumb+METHOD. No setting was tuned. Expected: replay's gain over GDumb comes from the "
        "new sentences and from the previous model.",
    },
}

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from cl_ner_bench.learning.learner import Batch, Output, Step
from cl_ner_bench.learning.pretrained import pretrained
from cl_ner_bench.models.heads.growing import Init

from .replay import Remembering


class GDumb(Remembering):
    """Open loss of a batch drawn from the memory and the sentences that the step adds to it; all weights start anew."""

    def grow(self, types: Sequence[str], init: Init) -> None:
        super().grow(types, init)
        fresh = self.make_head()
        for block in filter(None, (*self.grown, types)):
            fresh.grow(block, init)
        self.fresh = fresh.state_dict()

    def begin_step(self, step: Step) -> None:
        super().begin_step(step)
        self.head.load_state_dict(self.fresh)
        self.head.requires_grad_(True)  # reset rows must learn, even if the recipe freezes old ones
        del self.fresh
        self.encoder.load_state_dict(pretrained(self.encoder), strict=False)
        remembered = self.memory.batch(range(len(self.memory))).examples
        self.chosen = set(super().keep(step))
        still = {exemplar.id for exemplar in self.memory.exemplars}  # a reservoir forgets some
        new = step.batch(i for i, s in enumerate(step.train) if s.id in self.chosen)
        self.pool = (*(e for e in remembered if e.sentence.id in still), *new.examples)

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        drawn = torch.randperm(len(self.pool))[: len(batch.examples)].tolist()
        if not drawn:
            return {"memory": 0.0 * output.logits.sum()}
        remembered = Batch(tuple(self.pool[i] for i in drawn), batch.device)
        return {"memory": self.open_loss(remembered, self(remembered))}

    def keep(self, step: Step) -> Iterable[int]:
        return sorted(self.chosen)
