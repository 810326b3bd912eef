"""Freezing the embeddings and the lowest layers after the first step."""

CARD = {
    "freeze-bottom": {
        "label": "Freeze bottom",
        "class": "FreezeBottom",
        "architecture": "any",
        "first_step": "base",
        "settings": {"frozen_layers": 3},
        "help": {"frozen_layers": "number of lowest layers that, with the embeddings, do not learn after step 1"},
        "paper": "Zheng et al., Spurious Forgetting in Continual Learning of Language Models, ICLR 2025, arXiv "
        "2501.13453",
        "year": 2025,
        "status": "re-implementation",
        "summary": "After step 1, the embeddings and the lowest frozen_layers layers of the encoder do not change.",
        "stores": "nothing",
        "deviations": "The task is NER, not generation. Frozen layers keep their dropout. The number of three layers "
        "was not tuned. Expected: faster steps; forgetting that comes from the head or the loss stays.",
    }
}

import re

from cl_ner_bench.learning.learner import Learner, Step


class FreezeBottom(Learner):
    """From step 2 on, the embeddings and layers 0 .. frozen_layers - 1 are frozen."""

    def begin_step(self, step: Step) -> None:
        super().begin_step(step)
        if self.n_old:
            for name, p in self.encoder.backbone.named_parameters():
                layer = re.search(r"\blayers?\.(\d+)\.", name)
                if name.startswith("embeddings.") or (layer and int(layer[1]) < self.settings["frozen_layers"]):
                    p.requires_grad_(False)
